"""Neural matrix factorisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ans_fast import ops
from ans_fast.flag_types import List, size
from ans_fast.models.base import Recommender
from ans_fast.models.clicks import Clicks
from ans_fast.models.dot_product import pair_scores
from ans_fast.models.shared_options import DROPOUT, EMB_SIZE
from ans_fast.nn.gather import rows_at
from ans_fast.nn.node_table import NodeTable
from ans_fast.options import Option
from ans_fast.training.batches import Query, Rows

ALL_ITEMS_ROWS = 16  # users whose hidden layers for all items are held at once


def _noise(layer: int) -> str:
    """Its name in Rows.context."""
    return f"dropout {layer}"


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
    def seed_count(self) -> int:
        """The last ones are those of dropout, one a layer."""
        return super().seed_count + (len(self.layers) if self.dropout else 0)

    def draw(self, batch: Rows, seeds: Sequence[Tensor]) -> Rows:
        """With dropout also the layers' noise, float32 [B, C, W] each."""
        batch = super().draw(batch, seeds)
        if not self.dropout:
            return batch
        size = (len(batch), self.mode.candidates(batch).shape[1])
        noise = {
            _noise(layer): ops.ans_noise(seed, math.prod(size), width, self.device).view(*size, width)
            for layer, (seed, width) in enumerate(zip(seeds[super().seed_count :], self.layers, strict=True))
        }
        return replace(batch, context={**batch.context, **noise})

    def forward(self, users: Tensor, items: Tensor, context: dict[str, Tensor]) -> Tensor:
        ids = torch.cat([users[:, None], items + self.graph.n_users], 1)  # [B, 1 + C]
        mf, mlp = rows_at(self.mf.weight, ids), rows_at(self.mlp_table.weight, ids)  # [B, 1 + C, D]
        to_user, to_item = self.mlp[0].weight.split(self.emb_size, 1)  # [W, D] each
        hidden = (mlp[:, :1] @ to_user.t() + self.mlp[0].bias) + mlp[:, 1:] @ to_item.t()  # [B, C, W]
        mf_share, _ = self._shares()
        return (mf[:, :1] * mf[:, 1:]) @ mf_share + self._deep(hidden, context)

    def _shares(self) -> tuple[Tensor, Tensor]:
        """The last layer's weights [D] of the product and [W] of the perceptron."""
        return self.prediction.weight[0].split([self.emb_size, self.layers[-1]])

    def _deep(self, hidden: Tensor, context: dict[str, Tensor] | None = None) -> Tensor:
        """The perceptron's share of the scores [B, C], from its first layer before the relu, [B, C, W]. context: with
        what `draw` added, by which units are dropped."""
        noise = [(context or {}).get(_noise(layer)) for layer in range(len(self.layers))]
        for layer, own in zip(self.mlp[1:], noise, strict=False):
            hidden = layer(self._dropped(hidden.relu(), own))
        return self._dropped(hidden.relu(), noise[-1]) @ self._shares()[1]

    def _dropped(self, hidden: Tensor, noise: Tensor | None) -> Tensor:
        if noise is None:
            return hidden
        return hidden * ((noise >= self.dropout) / max(1 - self.dropout, 1e-9))

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
