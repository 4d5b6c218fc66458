"""The best of all items for a user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ans_fast.errors import UserError
from ans_fast.training.batches import Query

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender

USERS_AT_ONCE = 1024


@torch.no_grad()
def recommend(
    model: Recommender, user_ids: Sequence[int] | np.ndarray | Tensor, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """See `Recommender.recommend`."""
    users = torch.as_tensor(user_ids, dtype=torch.int64).flatten().to(model.device)
    if len(users) and not 0 <= int(users.min()) <= int(users.max()) < model.graph.n_users:
        raise UserError(f"user_ids must be in [0, {model.graph.n_users}), got {int(users.min())} … {int(users.max())}")
    if not 1 <= k <= model.graph.n_items:
        raise UserError(f"k must be in [1, {model.graph.n_items}], got {k}")
    state = model.precompute()
    best = [_best(model, state, part, k) for part in users.split(USERS_AT_ONCE)]
    scores = torch.cat([s for s, _ in best]) if best else torch.empty(0, k)
    items = torch.cat([i for _, i in best]) if best else torch.empty(0, k, dtype=torch.int64)
    items = items.masked_fill(scores == -torch.inf, -1)
    return items.cpu().numpy(), scores.float().cpu().numpy()


def _best(model: Recommender, state: Any, users: Tensor, k: int) -> tuple[Tensor, Tensor]:
    scores = model.score(state, Query(users))
    scores[:, : model.first_item] = -torch.inf
    scores[model.graph.clicks_of(users)] = -torch.inf
    return tuple(scores.topk(k, dim=1))
