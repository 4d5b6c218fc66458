"""Recommendations for users that training did not see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ans_fast.errors import UserError
from ans_fast.graph import BipartiteGraph
from ans_fast.models.ranking import (
    USERS_AT_ONCE,
    barred_items,
    best,
    candidates,
    check_k,
    number,
    say_who_is_cold,
)
from ans_fast.nn.fold_in import folded_in

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender


def recommend_new(
    model: Recommender,
    item_lists: Iterable[Iterable[Any]],
    k: int = 10,
    exclude_seen: bool = True,
    items: Any = None,
    exclude: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """As `recommend`, for users that training did not see, by what they clicked; nothing is trained.

    A user's vectors come from its items' by one propagation: see `nn.fold_in.folded_in`. Who clicked nothing, or only
    what nobody did in training, gets what was clicked most, and a warning says for how many that is so.

    Args:
        item_lists: for each of U users the ids of the items that it clicked; repeats count once.
        exclude_seen: leave these out. k, items, exclude: as in `recommend`.

    Returns:
        Items [U, k] and scores float32, as from `recommend`.

    Raises:
        UserError: an id is unknown, k is out of range, or the model has no vectors for new users.
    """
    check_k(k, model.graph.n_items)
    hops, vectors = model.item_hops(), model.vectors()[1]
    new, barred = _graph_of(model, item_lists), barred_items(model, items, exclude)
    weights = model.graph.scale[model.graph.n_users :]
    known = torch.zeros(new.n_users, device=model.device)
    place, item = new.clicks()
    cold = known.index_add_(0, place, weights[item]) == 0
    say_who_is_cold(cold)

    @torch.no_grad()
    def scores() -> Iterator[Tensor]:
        for part in torch.arange(new.n_users, device=model.device).split(USERS_AT_ONCE):
            seen = new.clicks_of(part)
            users = model.pooled(folded_in(hops, model.graph, *seen, len(part)))
            yield candidates(model, users @ vectors.t(), cold[part], barred, seen if exclude_seen else None)

    return best(model, scores(), k)


def _graph_of(model: Recommender, item_lists: Iterable[Iterable[Any]]) -> BipartiteGraph:
    """The clicks of the new users, whose numbers are their places. Raises UserError for unknown items."""
    lists = []
    for ids in item_lists:
        if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
            raise UserError(f"item_lists must hold a list of items for each user, got {ids!r:.60} among them")
        lists.append([*ids])
    users = np.repeat(np.arange(len(lists)), [len(ids) for ids in lists])
    items = number(model, "item", [one for ids in lists for one in ids]).cpu()
    return BipartiteGraph(users, items, len(lists), model.graph.n_items).to(model.device)
