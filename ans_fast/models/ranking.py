"""Scores of a model as it is: the best of all items for a user, and how far scores differ."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ans_fast.errors import UserError
from ans_fast.metrics import set_never
from ans_fast.training.batches import Query

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender

USERS_AT_ONCE = 1024


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
    check_k(k, model.graph.n_items)
    numbers, barred = number(model, "user", users), barred_items(model, items, exclude)
    say_who_is_cold(model.graph.degrees[numbers] == 0)
    parts = scores_of_all(model, numbers, barred, exclude_seen)
    return best(model, (scores for _, scores in parts), k)


@torch.no_grad()
def predict(model: Recommender, users: Any, items: Any) -> np.ndarray:
    """The model's scores float32 [n] of pairs, by which `recommend` ranks whom it knows.

    Args:
        users, items: ids [n] each, as in `recommend`.

    Raises:
        UserError: an id is unknown, or there are not as many users as items.
    """
    users, items = number(model, "user", users), number(model, "item", items)
    if len(users) != len(items):
        raise UserError(f"predict needs as many users as items, got {len(users)} and {len(items)}")
    query = Query(users, items[:, None], model.latest(users))
    return model.score(model.precompute(), query)[:, 0].float().cpu().numpy()


@torch.no_grad()
def scores_of_all(
    model: Recommender, users: Tensor, barred: Tensor | None = None, exclude_seen: bool = True
) -> Iterator[tuple[Tensor, Tensor]]:
    """The users int64 [U] in parts, with the scores of all items [B, n_items], -inf for what they are not to get.
    barred: bool [n_items], what nobody gets."""
    state, context = model.precompute(), model.latest(users)
    for start in range(0, max(len(users), 1), USERS_AT_ONCE):
        part = slice(start, start + USERS_AT_ONCE)
        query = Query(users[part], context={name: values[part] for name, values in context.items()})
        seen = model.graph.clicks_of(query.users) if exclude_seen else None
        cold = model.graph.degrees[query.users] == 0
        yield query.users, candidates(model, model.score(state, query), cold, barred, seen)


def candidates(
    model: Recommender, scores: Tensor, cold: Tensor, barred: Tensor | None, seen: tuple[Tensor, Tensor] | None
) -> Tensor:
    """The scores [B, n_items], written into: popularity for users that are cold, bool [B], and -inf for padding, for
    what is barred and at rows and items int64 [C] that were seen."""
    scores[cold] = model.graph.degrees[model.graph.n_users :].to(scores.dtype)
    scores[:, : model.first_item] = -torch.inf
    if barred is not None:
        scores.masked_fill_(barred, -torch.inf)
    if seen is not None:
        set_never(scores, seen)
    return scores


def best(model: Recommender, parts: Iterable[Tensor], k: int) -> tuple[np.ndarray, np.ndarray]:
    """What `recommend` returns, of parts of the users' scores [B, n_items]. An item of score NaN is none."""
    tops = [scores.masked_fill_(scores.isnan(), -torch.inf).topk(k, dim=1) for scores in parts]
    scores, found = (torch.cat(tensors) for tensors in zip(*tops, strict=True))
    found, scores = found.masked_fill(scores == -torch.inf, -1).cpu().numpy(), scores.float().cpu().numpy()
    return found if model.item_ids is None else model.item_ids[found], scores


def check_k(k: int, most: int) -> None:
    """Raises UserError unless k is one of 1 … most."""
    if not (isinstance(k, Integral) and 1 <= k <= most):
        raise UserError(f"k must be in [1, {most}], got {k}")


def barred_items(model: Recommender, items: Any, exclude: Any) -> Tensor:
    """What nobody gets where `items` are to choose from, or all, but `exclude`: bool [n_items]. Raises UserError for
    unknown ids."""
    barred = torch.full((model.graph.n_items,), items is not None, device=model.device)
    if items is not None:
        barred[number(model, "item", items)] = False
    if exclude is not None:
        barred[number(model, "item", exclude)] = True
    return barred


def number(model: Recommender, who: str, ids: Any) -> Tensor:
    """The numbers int64 [n] of "user" or "item" ids, on the model's device. Raises UserError for unknown ones."""
    known, n = (model.user_ids, model.graph.n_users) if who == "user" else (model.item_ids, model.graph.n_items)
    if known is not None:
        return torch.from_numpy(known.numbers(ids)).to(model.device)
    values = ids.cpu().numpy() if isinstance(ids, Tensor) else np.asarray(ids)
    if values.size and values.dtype.kind not in "iu":
        raise UserError(f"{who}s must be whole numbers, as this {model.name} was made from a graph, got {values.dtype}")
    numbers = torch.from_numpy(values.astype(np.int64).ravel()).to(model.device)
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < n:
        raise UserError(f"{who}s must be in [0, {n}), got {int(numbers.min())} … {int(numbers.max())}")
    return numbers


def say_who_is_cold(cold: Tensor) -> None:
    """Warns of users, bool [U], of whom no clicks are known."""
    if n_cold := int(cold.sum()):
        warnings.warn(f"{n_cold} of {len(cold)} users have no clicks: they get what was clicked most", stacklevel=3)


@torch.no_grad()
def spread(model: Recommender, state: Any) -> float | None:
    """The standard deviation of scores over a sample of users and items, to see embeddings collapse."""
    users = torch.linspace(0, model.graph.n_users - 1, 64, device=model.device).long()
    items = torch.linspace(model.first_item, model.graph.n_items - 1, 256, device=model.device).long()
    return float(model.score(state, Query(users, items.expand(len(users), -1).contiguous())).std())
