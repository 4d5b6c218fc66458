"""The vectors of what a batch looks at, hop by hop."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ans_fast import ops
from ans_fast.graph import BipartiteGraph
from ans_fast.nn.gather import is_free_to_read, products, rows_at, widened
from ans_fast.nn.node_table import NodeTable


class Hops(NamedTuple):
    """The hops of some users [U, H, D] and items [I, H, D], both in one tensor [U + I, H, D], and at which row each
    id's are: int64 [n_users], [n_items]."""

    both: Tensor
    users: Tensor
    items: Tensor
    user_places: Tensor
    item_places: Tensor

    def user_rows(self, ids: Tensor) -> Tensor:
        """Where users are in `users`."""
        return self.user_places[ids]

    def item_rows(self, ids: Tensor) -> Tensor:
        """Where items are in `items`."""
        return self.item_places[ids]

    def unit(self) -> Hops:
        """The same of length 1, all hops of a node together."""
        both = F.normalize(widened(self.both).flatten(1), dim=1).view(self.both.shape).to(self.both.dtype)
        users, items = both.split([len(self.users), len(self.items)])
        return self._replace(both=both, users=users, items=items)

    def scores(self, users: Tensor, items: Tensor) -> Tensor:
        """users int64 [B], items int64 [B, C] -> [B, C], with gradients."""
        u = rows_at(self.users.flatten(1), self.user_rows(users))
        return products(u, rows_at(self.items.flatten(1), self.item_rows(items)))


def hops_of(
    table: NodeTable, encode: Callable[[Tensor], Tensor], graph: BipartiteGraph, users: Tensor, *items: Tensor
) -> Hops:
    """The hops of the users and items whose ids, int64 of any shape, a batch holds: fewer to compute and to project
    than all, and a smaller gradient.

    encode: makes hops [R, H, D] of the table for nodes int64 [R].
    """
    users_here, user_places = distinct(users, graph.n_users)
    items_here, item_places = distinct(torch.cat([ids.flatten() for ids in items]), graph.n_items)
    rows = table.rows(encode, torch.cat([users_here, items_here + graph.n_users]))
    return Hops(rows, *rows.split([len(users_here), len(items_here)]), user_places, item_places)


def distinct(ids: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Which of n ids occur among int64 […], ascending: int64 [R]; and which of them each is: int64 [n], of no meaning
    for ids that don't occur. Where values are not free to read R is the most possible, and the first id fills the rest.
    """
    found = ops.distinct_ids(ids.flatten(), n)
    return found.ids[: int(found.count)] if is_free_to_read(ids) else found.ids, found.place
