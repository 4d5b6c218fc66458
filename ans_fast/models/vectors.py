"""The vectors whose products are a model's scores: to look at, to serve, and to find what is alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ans_fast.models.ranking import USERS_AT_ONCE, check_k, number

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender


def embeddings(model: Recommender) -> tuple[np.ndarray, np.ndarray]:
    """Vectors float32 of users [n_users, K] and items [n_items, K], in the order of their numbers, which is that of
    user_ids and item_ids. A user's product with an item is its score."""
    users, items = model.vectors()
    return users.float().cpu().numpy().copy(), items.float().cpu().numpy().copy()


def similar_items(model: Recommender, items: Any, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """The k other items whose vectors have the largest cosines with each item's.

    Args:
        items: ids [n] of the model's Interactions, or numbers if it was made from a graph.

    Returns:
        Items [n, k], most alike first, and their cosines float32.

    Raises:
        UserError: an id is unknown, or there are not k others.
    """
    numbers = number(model, "item", items)
    found, cosines = _nearest(model.vectors()[1], numbers, k, model.first_item)
    return found if model.item_ids is None else model.item_ids[found], cosines


def similar_users(model: Recommender, users: Any, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """As `similar_items`, of users."""
    numbers = number(model, "user", users)
    found, cosines = _nearest(model.vectors()[0], numbers, k)
    return found if model.user_ids is None else model.user_ids[found], cosines


@torch.no_grad()
def _nearest(vectors: Tensor, numbers: Tensor, k: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """int64 and float32 [n, k]. first: vectors below it are padding."""
    check_k(k, len(vectors) - first - 1)
    unit = normalize(vectors.float(), dim=1)
    parts = []
    for part in numbers.split(USERS_AT_ONCE):
        cosines = unit[part] @ unit.t()
        cosines[:, :first] = -torch.inf
        cosines.scatter_(1, part[:, None], -torch.inf)
        parts.append(cosines.topk(k, dim=1))
    cosines, found = (torch.cat(tensors).cpu().numpy() for tensors in zip(*parts, strict=True))
    return found, cosines
