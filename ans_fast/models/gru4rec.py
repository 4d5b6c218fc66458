"""A recurrent network over the history."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ans_fast.flag_types import size
from ans_fast.models.clicks import Clicks
from ans_fast.models.dot_product import pair_scores
from ans_fast.models.sequential import Sequential
from ans_fast.models.shared_options import EMB_SIZE
from ans_fast.nn.gather import products, rows_at
from ans_fast.nn.recurrent import last_states
from ans_fast.options import Option
from ans_fast.training.batches import Query


class GRU4Rec(Sequential):
    """ "Session-based Recommendations with Recurrent Neural Networks" (Hidasi et al., ICLR 2016).

    A gated recurrent unit reads the history's item vectors; its last state, made linear into D numbers, times an item's
    vector is the score. An empty history leaves the unit's first state, zeros.

    Args:
        graph: who clicked what. emb_size: D. hidden_size: of the unit. history_max: see Sequential.
        options: see Recommender.
    """

    name = "GRU4Rec"
    log_args = ("emb_size", "hidden_size")

    emb_size = EMB_SIZE
    hidden_size = Option(size, 64, "size of the recurrent unit")

    def __init__(self, graph: Clicks, **options: Any):
        super().__init__(graph, **options)
        emb_size, hidden_size = self.emb_size, self.hidden_size
        self.i_embeddings = nn.Embedding(self.graph.n_items, emb_size)
        self.rnn = nn.GRU(emb_size, hidden_size, batch_first=True)
        self.out = nn.Linear(hidden_size, emb_size)
        for parameter in (self.i_embeddings.weight, *self.out.parameters()):
            nn.init.normal_(parameter, std=0.01)

    def forward(self, users: Tensor, items: Tensor, context: dict[str, Tensor]) -> Tensor:
        return products(self.users_now(context), rows_at(self.i_embeddings.weight, items))

    def users_now(self, context: dict[str, Tensor]) -> Tensor:
        """The vectors of users by their histories: [B, D]."""
        lengths, order = context["lengths"].sort(descending=True, stable=True)
        history = context["history_items"].index_select(0, order).t()
        clicked = torch.arange(len(history), device=lengths.device)[:, None] < lengths  # [L, B]
        sizes = [size for size in clicked.sum(1).tolist() if size]
        users = self.out(last_states(self.rnn, self.i_embeddings.weight, history[clicked], sizes, len(order)))
        return torch.empty_like(users).index_copy(0, order, users)

    @torch.no_grad()
    def precompute(self) -> Tensor:
        """The items' vectors [n_items, D]."""
        return self.i_embeddings.weight.detach()

    @torch.no_grad()
    def score(self, state: Tensor, query: Query) -> Tensor:
        users = self.users_now(query.context)
        return users @ state.t() if query.items is None else pair_scores(users, state, query.items)
