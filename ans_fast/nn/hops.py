"""The vectors of what a batch looks at, hop by hop."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from ans_fast.graph import BipartiteGraph
from ans_fast.nn.gather import distinct, is_free_to_read, products, rows_at
from ans_fast.nn.node_table import NodeTable


class Hops(NamedTuple):
    """The hops of some users [U, H, D] and items [I, H, D], both in one tensor [U + I, H, D], and at which row each
    id's are: int64 [n_users], [n_items]; None: at its own."""

    both: Tensor
    users: Tensor
    items: Tensor
    user_places: Tensor | None = None
    item_places: Tensor | None = None

    def user_rows(self, ids: Tensor) -> Tensor:
        """Where users are in `users`."""
        return ids if self.user_places is None else self.user_places[ids]

    def item_rows(self, ids: Tensor) -> Tensor:
        """Where items are in `items`."""
        return ids if self.item_places is None else self.item_places[ids]

    def scores(self, users: Tensor, items: Tensor) -> Tensor:
        """users int64 [B], items int64 [B, C] -> [B, C], with gradients."""
        u = rows_at(self.users.flatten(1), self.user_rows(users))
        return products(u, rows_at(self.items.flatten(1), self.item_rows(items)))


def hops_of(
    table: NodeTable, encode: Callable[[Tensor | None], Tensor], graph: BipartiteGraph, users: Tensor, *items: Tensor
) -> Hops:
    """The hops of the users and items whose ids, int64 of any shape, a batch holds: fewer to compute and to project
    than all, and a smaller gradient. On a GPU those of all nodes, since counting distinct ids would wait for the
    device, unless other processes hold a part of their columns.

    encode: makes hops [R, H, D] of the table for nodes int64 [R]; None: for all.
    """
    n_users = graph.n_users
    if not is_free_to_read(users) and table.columns is None:
        every = encode(None)
        return Hops(every, *every.split([n_users, graph.n_items]))
    nodes, place = distinct(graph.n_nodes, users, *(ids + n_users for ids in items))
    n_here = int((nodes < n_users).sum())
    rows = table.rows(encode, nodes)
    return Hops(rows, *rows.split([n_here, len(nodes) - n_here]), place[:n_users], place[n_users:] - n_here)
