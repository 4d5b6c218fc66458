"""Scores of a model as it is: the best of all items for a user, and how far scores differ."""

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
    model: Recommender, user_ids: Sequence[int] | np.ndarray | Tensor, k: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """The k items that each user is likeliest to click and has not clicked yet.

    Returns:
        items int64 [len(user_ids), k], best first, and their scores float32. A user with fewer than k unclicked
        items gets -1 with score -inf at the end.

    Raises:
        UserError: an id is out of range, or k is.
    """
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


@torch.no_grad()
def spread(model: Recommender, state: Any) -> float | None:
    """The standard deviation of scores over a sample of users and items, to see embeddings collapse."""
    users = torch.linspace(0, model.graph.n_users - 1, 64, device=model.device).long()
    items = torch.linspace(model.first_item, model.graph.n_items - 1, 256, device=model.device).long()
    return float(model.score(state, Query(users, items.expand(len(users), -1).contiguous())).std())
