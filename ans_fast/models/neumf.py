"""Neural matrix factorisation."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ans_fast.flag_types import List, size
from ans_fast.models.base import Recommender
from ans_fast.models.clicks import Clicks
from ans_fast.models.dot_product import pair_scores
from ans_fast.models.shared_options import DROPOUT, EMB_SIZE
from ans_fast.nn.gather import rows_at
from ans_fast.nn.node_table import NodeTable
from ans_fast.options import Option
from ans_fast.training.batches import Query

ALL_ITEMS_ROWS = 16  # users whose hidden layers for all items are held at once


class NeuMF(Recommender):
    """ "Neural Collaborative Filtering" (He et al., WWW 2017).

    A score is linear in two vectors: the element-wise product of one pair of embeddings, and what a perceptron makes of
    another pair side by side. The perceptron's first layer splits in a user's half and an item's half, so that for
    ranking each is computed once a user and once an item.

    Args:
        graph: who clicked what. emb_size: D of each of the two pairs. layers: widths of the perceptron's layers.
        dropout: after each of these. options: see Recommender.
    """

    name = "NeuMF"
    log_args = ("emb_size", "layers")
    captures = True

    emb_size = EMB_SIZE
    layers = Option(List(size, 16), [64], "widths of the perceptron's layers")
    dropout = DROPOUT

    def __init__(self, graph: Clicks, **options: Any):
        super().__init__(graph, **options)
        emb_size = self.emb_size
        self.mf = NodeTable(self.graph, emb_size, ("mf_u_embeddings.weight", "mf_i_embeddings.weight"))
        self.mlp_table = NodeTable(self.graph, emb_size, ("mlp_u_embeddings.weight", "mlp_i_embeddings.weight"))
        widths = [2 * emb_size, *self.layers]
        self.mlp = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, self.layers, strict=False))
        self.prediction = nn.Linear(emb_size + widths[-1], 1, bias=False)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.01)

    @property
    def unshared(self) -> str:
        """Dropout is drawn layer by layer."""
        return f"dropout {self.dropout} is drawn for whole batches" if self.dropout else ""

    def forward(self, users: Tensor, items: Tensor, context: dict[str, Tensor]) -> Tensor:
        ids = torch.cat([users[:, None], items + self.graph.n_users], 1)  # [B, 1 + C]
        mf, mlp = rows_at(self.mf.weight, ids), rows_at(self.mlp_table.weight, ids)  # [B, 1 + C, D]
        to_user, to_item = self.mlp[0].weight.split(self.emb_size, 1)  # [W, D] each
        hidden = (mlp[:, :1] @ to_user.t() + self.mlp[0].bias) + mlp[:, 1:] @ to_item.t()  # [B, C, W]
        mf_share, _ = self._shares()
        dropout = self.dropout if self.training else 0.0
        return (mf[:, :1] * mf[:, 1:]) @ mf_share + self._deep(hidden, dropout)

    def _shares(self) -> tuple[Tensor, Tensor]:
        """The last layer's weights [D] of the product and [W] of the perceptron."""
        return self.prediction.weight[0].split([self.emb_size, self.layers[-1]])

    def _deep(self, hidden: Tensor, dropout: float = 0.0) -> Tensor:
        """The perceptron's share of the scores [B, C], from its first layer before the relu, [B, C, W]."""
        for layer in self.mlp[1:]:
            hidden = layer(F.dropout(hidden.relu(), dropout))
        return F.dropout(hidden.relu(), dropout) @ self._shares()[1]

    @torch.no_grad()
    def precompute(self) -> tuple[Tensor, ...]:
        """Vectors whose product is the linear part, [n_users, D] and [n_items, D]; both halves of the first layer,
        [n_users, W] and [n_items, W]."""
        mf_users, mf_items = self.mf.parts()
        mlp_users, mlp_items = self.mlp_table.parts()
        to_user, to_item = self.mlp[0].weight.split(self.emb_size, 1)
        return (
            mf_users * self._shares()[0],
            mf_items,
            torch.addmm(self.mlp[0].bias, mlp_users, to_user.t()),
            mlp_items @ to_item.t(),
        )

    @torch.no_grad()
    def score(self, state: tuple[Tensor, ...], query: Query) -> Tensor:
        mf_users, mf_items, users, items = state
        linear, half = mf_users.index_select(0, query.users), users.index_select(0, query.users)[:, None]
        if query.items is None:
            deep = torch.cat([self._deep(part + items) for part in half.split(ALL_ITEMS_ROWS)])
            return linear @ mf_items.t() + deep
        return pair_scores(linear, mf_items, query.items) + self._deep(half + rows_at(items, query.items))
