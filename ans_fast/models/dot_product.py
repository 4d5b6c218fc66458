"""Models whose score is the product of a user's and an item's vector."""

from __future__ import annotations

import torch
from torch import Tensor

from ans_fast import ops
from ans_fast.errors import UserError
from ans_fast.models.base import Recommender
from ans_fast.nn.columns import Columns
from ans_fast.nn.gather import products, products_with_first, rows_at
from ans_fast.training.batches import Query


class DotProduct(Recommender):
    """A subclass gives `nodes`; everything else follows.

    Where processes hold the vectors' columns together (`nn.columns`), `nodes`, `rows` and `precompute` are those that
    this process holds, and all processes call `forward`, for the same pairs, and `score` together.
    """

    @property
    def columns(self) -> Columns | None:
        """Which columns of the vectors this process holds; None: all."""
        return None

    def nodes(self) -> Tensor:
        """The vectors of all nodes [N, K], users first, with gradients."""
        raise NotImplementedError

    def rows(self, ids: Tensor) -> Tensor:
        """The vectors of nodes int64 [R]: [R, K], with gradients."""
        return self.nodes().index_select(0, ids)

    @torch.no_grad()
    def precompute(self) -> tuple[Tensor, Tensor]:
        """The vectors of users [n_users, K] and items [n_items, K]."""
        return self.nodes().detach().split([self.graph.n_users, self.graph.n_items])

    def vectors(self) -> tuple[Tensor, Tensor]:
        if self.columns is not None:
            raise UserError(f"the vectors of this {self.name} lie in several processes: save it, and load it in one")
        return self.precompute()

    @torch.no_grad()
    def score(self, state: tuple[Tensor, Tensor], query: Query) -> Tensor:
        users, items = state

        def own(ids: Tensor, candidates: Tensor | None = None) -> Tensor:
            vectors = users.index_select(0, ids)
            return vectors @ items.t() if candidates is None else pair_scores(vectors, items, candidates)

        ids = [query.users] if query.items is None else [query.users, query.items]
        return own(*ids) if self.columns is None else self.columns.sums(own, *ids)

    def forward(self, users: Tensor, items: Tensor, context: dict[str, Tensor]) -> Tensor:
        # one gather from one table: its backward pass fills one gradient of the table's size, not two
        ids = torch.cat([users, items.flatten() + self.graph.n_users])
        scores = products_with_first(self.rows(ids), *items.shape)
        return scores if self.columns is None else self.columns.added_up(scores)


def pair_scores(users: Tensor, items: Tensor, candidates: Tensor) -> Tensor:
    """users [B, K] with item rows [n, K] at candidates int64 [B, C] -> products [B, C], without gradients."""
    if users.is_cpu:
        return ops.candidate_scores(users, items, candidates)
    return products(users, rows_at(items, candidates))  # where K may be more than the kernels hold
