"""Scores of a model as it is: the best of all items for a user, and how far scores differ."""

from __future__ import annotations

import warnings
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
    model: Recommender,
    users: Any,
    k: int = 10,
    exclude_seen: bool = True,
    items: Any = None,
    exclude: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k items that each user is likeliest to click. Users and items are ids of the model's Interactions, or numbers
    if it was made from a graph.

    A user without clicks has taught the model nothing: it gets what was clicked most, its scores are numbers of clicks,
    and a warning says for how many users that is so.

    Args:
        users: ids [U]. exclude_seen: leave out what a user has clicked.
        items: the only items to choose from; None: all. exclude: items that nobody is to get.

    Returns:
        Items [U, k], best first, and their scores float32. At the end of a user with fewer than k candidates there are
        None, or -1 among numbers, with score -inf.

    Raises:
        UserError: an id is unknown, or k is out of range.
    """
    numbers = number(model, "user", users)
    if not 1 <= k <= model.graph.n_items:
        raise UserError(f"k must be in [1, {model.graph.n_items}], got {k}")
    barred = torch.full((model.graph.n_items,), items is not None, device=model.device)
    if items is not None:
        barred[number(model, "item", items)] = False
    if exclude is not None:
        barred[number(model, "item", exclude)] = True
    barred[: model.first_item] = True
    _say_who_is_cold(model, numbers)
    found, scores = best(model, numbers, k, barred, exclude_seen)
    found, scores = found.cpu().numpy(), scores.float().cpu().numpy()
    return found if model.item_ids is None else model.item_ids[found], scores


@torch.no_grad()
def best(
    model: Recommender, users: Tensor, k: int, barred: Tensor | None = None, exclude_seen: bool = True
) -> tuple[Tensor, Tensor]:
    """As `recommend` of users' numbers int64 [U]: items int64 [U, k], -1 at the end where there are fewer, and scores.
    barred: bool [n_items], what nobody gets; None: nothing but padding."""
    if barred is None:
        barred = torch.arange(model.graph.n_items, device=model.device) < model.first_item
    state = model.precompute()
    parts = [_best(model, state, part, k, barred, exclude_seen) for part in users.split(USERS_AT_ONCE)]
    scores, found = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return found.masked_fill(scores == -torch.inf, -1), scores


def number(model: Recommender, who: str, ids: Any) -> Tensor:
    """The numbers int64 [n] of "user" or "item" ids, on the model's device. Raises UserError for unknown ones."""
    known, n = (model.user_ids, model.graph.n_users) if who == "user" else (model.item_ids, model.graph.n_items)
    if known is not None:
        return torch.from_numpy(known.numbers(ids)).to(model.device)
    numbers = torch.as_tensor(ids, dtype=torch.int64).flatten().to(model.device)
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < n:
        raise UserError(f"{who}s must be in [0, {n}), got {int(numbers.min())} … {int(numbers.max())}")
    return numbers


def _say_who_is_cold(model: Recommender, users: Tensor) -> None:
    n_cold = int((model.graph.degrees[users] == 0).sum())
    if n_cold:
        warnings.warn(f"{n_cold} of {len(users)} users have no clicks: they get what was clicked most", stacklevel=4)


def _best(
    model: Recommender, state: Any, users: Tensor, k: int, barred: Tensor, exclude_seen: bool
) -> tuple[Tensor, Tensor]:
    scores = model.score(state, Query(users))
    popularity = model.graph.degrees[model.graph.n_users :].to(scores.dtype)
    scores[model.graph.degrees[users] == 0] = popularity
    scores.masked_fill_(barred, -torch.inf)
    if exclude_seen:
        scores[model.graph.clicks_of(users)] = -torch.inf
    return tuple(scores.topk(k, dim=1))


@torch.no_grad()
def spread(model: Recommender, state: Any) -> float | None:
    """The standard deviation of scores over a sample of users and items, to see embeddings collapse."""
    users = torch.linspace(0, model.graph.n_users - 1, 64, device=model.device).long()
    items = torch.linspace(model.first_item, model.graph.n_items - 1, 256, device=model.device).long()
    return float(model.score(state, Query(users, items.expand(len(users), -1).contiguous())).std())
