"""Factorised personalised Markov chains."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ans_fast.models.clicks import Clicks
from ans_fast.models.dot_product import pair_scores
from ans_fast.models.sequential import Sequential, last_items
from ans_fast.models.shared_options import EMB_SIZE
from ans_fast.nn.gather import products, rows_at
from ans_fast.nn.node_table import NodeTable
from ans_fast.training.batches import Query


class FPMC(Sequential):
    """ "Factorizing Personalized Markov Chains for Next-Basket Recommendation" (Rendle et al., WWW 2010).

    A score is the product of a user's and an item's vector plus that of the latest clicked item's and the item's
    second vector. A user without history has the first alone.

    Args:
        graph: who clicked what. emb_size: D. history_max: see Sequential. options: see Recommender.
    """

    name = "FPMC"
    log_args = ("emb_size",)
    captures = True

    emb_size = EMB_SIZE

    def __init__(self, graph: Clicks, **options: Any):
        super().__init__(graph, **options)
        emb_size = self.emb_size
        self.table = NodeTable(self.graph, emb_size, ("ui_embeddings.weight", "iu_embeddings.weight"))
        self.li_embeddings = nn.Embedding(self.graph.n_items, emb_size)
        self.il_embeddings = nn.Embedding(self.graph.n_items, emb_size)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.01)

    def forward(self, users: Tensor, items: Tensor, context: dict[str, Tensor]) -> Tensor:
        both = rows_at(self.table.weight, torch.cat([users[:, None], items + self.graph.n_users], 1))  # [B, 1 + C, D]
        by_item = rows_at(self.il_embeddings.weight, items)  # [B, C, D]
        return products(both[:, 0], both[:, 1:]) + products(self._last(context), by_item)

    def _last(self, context: dict[str, Tensor]) -> Tensor:
        """The latest item's vector [B, D]; zeros where there is none."""
        return rows_at(self.li_embeddings.weight, last_items(context)) * (context["lengths"] > 0)[:, None]

    @torch.no_grad()
    def precompute(self) -> tuple[Tensor, Tensor]:
        """The vectors of users [n_users, D] and both of the items side by side [n_items, 2D]."""
        users, items = self.table.parts()
        return users, torch.cat([items, self.il_embeddings.weight], 1)

    @torch.no_grad()
    def score(self, state: tuple[Tensor, Tensor], query: Query) -> Tensor:
        users, items = state
        own = torch.cat([users.index_select(0, query.users), self._last(query.context)], 1)
        return own @ items.t() if query.items is None else pair_scores(own, items, query.items)
