"""Self-exciting processes over item relations."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ans_fast.data import Dataset
from ans_fast.errors import UserError
from ans_fast.flag_types import Integer, text
from ans_fast.graph import BipartiteGraph
from ans_fast.models.clicks import Clicks
from ans_fast.models.dot_product import pair_scores
from ans_fast.models.sequential import Sequential
from ans_fast.models.shared_options import EMB_SIZE
from ans_fast.nn.gather import products, rows_at
from ans_fast.nn.item_relations import ItemRelations, relation_pairs
from ans_fast.nn.node_table import NodeTable
from ans_fast.options import Option
from ans_fast.training.batches import Query, Rows

PARAMETERS = ("alphas", "pis", "betas", "sigmas", "mus")
AGES = "related_ages"
SPAN = (1e-10, 10.0)  # of rates and widths


class SLRCPlus(Sequential):
    """ "Modeling Item-Specific Temporal Dynamics of Repeat Consumption for Recommender Systems" (Wang et al., WWW 2019)
    in ReChorus's form: relations excite as repeats do.

    A score is the base intensity (matrix factorisation with biases) plus, for every relation r by which a click of the
    user's history leads to the item, the latest one Δ time_scalars ago,

        (alpha + alpha_r) (pi_r β_r exp(−β_r Δ) + (1 − pi_r) Normal(Δ; μ_r, σ_r)),

    a burst that fades and a bump a while later. Relation 0 is the item itself: a repeat. The others are the `r_…`
    columns of item_meta.csv, or `pairs`; without any repeats alone excite, of which Interactions hold none. alpha is
    one number; all that has an r is each item's own or, as in early versions of ReChorus, its category's.

    Args:
        graph: who clicked what. emb_size: D. time_scalar: the unit of Δ, in the data's unit of time.
        category_col: the column of item_meta.csv that `from_data` reads the categories from.
        categories: int64 [n_items], by which items share parameters; None: each has its own.
        pairs, kinds: the relations, as `relation_pairs` gives them.
        options: see Sequential.
    """

    name = "SLRCPlus"
    log_args = ("emb_size",)

    emb_size = EMB_SIZE
    time_scalar = Option(Integer(1, 2**53), 60 * 60 * 24 * 100, "unit of intervals, in the data's")
    category_col = Option(
        text,
        "",
        "column of item_meta.csv, such as i_category: items of one value share the parameters of excitation",
        names_runs=True,
    )

    def __init__(
        self,
        graph: Clicks,
        *,
        categories: Tensor | None = None,
        pairs: Tensor | None = None,
        kinds: Tensor | None = None,
        **options: Any,
    ):
        super().__init__(graph, **options)
        if categories is None:
            categories = torch.arange(self.graph.n_items)
        if pairs is None or kinds is None:
            pairs = torch.arange(self.graph.n_items) * (self.graph.n_items + 1)
            kinds = torch.ones(self.graph.n_items, 1, dtype=torch.bool)
        self.register_buffer("categories", categories, persistent=False)
        self.relations = ItemRelations(self.graph.n_items, pairs, kinds)
        self.table = NodeTable(self.graph, self.emb_size, ("u_embeddings.weight", "i_embeddings.weight"))
        self.user_bias, self.item_bias = nn.Embedding(self.graph.n_users, 1), nn.Embedding(self.graph.n_items, 1)
        n_categories = int(categories.max()) + 1
        for name in PARAMETERS:
            setattr(self, name, nn.Embedding(n_categories, kinds.shape[1]))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.01)
        self.global_alpha = nn.Parameter(torch.zeros(()))

    def arguments(self) -> dict[str, Any]:
        relations = {"pairs": self.relations.pairs, "kinds": self.relations.kinds}
        return {**super().arguments(), "categories": self.categories, **relations}

    @classmethod
    def from_data(cls, dataset: Dataset, graph: BipartiteGraph, **options: Any) -> SLRCPlus:
        pairs, kinds = relation_pairs(dataset)
        column = options.get("category_col")
        categories = item_categories(dataset, column) if column else None
        return super().from_data(dataset, graph, categories=categories, pairs=pairs, kinds=kinds, **options)

    def context(self, dataset: Dataset, split: str) -> dict[str, Tensor]:
        """Adds the ages for the items that a row is known to be scored with, the row's own first."""
        context, rows = super().context(dataset, split), getattr(dataset, split)
        items = torch.tensor(rows.items).reshape(len(rows), -1)
        if getattr(rows, "neg_items", None) is not None:
            items = torch.cat([items, torch.tensor(rows.neg_items)], 1)
        parts = Rows(items[:, 0], items, context=context)
        relations = ItemRelations(dataset.n_items, self.relations.pairs.cpu(), self.relations.kinds.cpu())
        ages = [relations.ages(part.items, part.context) for part in _chunks(parts)]
        none = torch.zeros(0, items.shape[1], relations.kinds.shape[1])
        return {**context, AGES: torch.cat([none, *ages])}

    def latest(self, users: Tensor) -> dict[str, Tensor]:
        """Without ages, as no row's own item is scored."""
        context = super().latest(users)
        return {**context, AGES: context[AGES][:, :0]}

    def forward(self, users: Tensor, items: Tensor, context: dict[str, Tensor]) -> Tensor:
        ids = torch.cat([users[:, None], items + self.graph.n_users], 1)  # [B, 1 + C]
        rows = rows_at(self.table.weight, ids)  # [B, 1 + C, D]
        base = products(rows[:, 0], rows[:, 1:]) + rows_at(self.user_bias.weight, users)
        return base + rows_at(self.item_bias.weight, items)[..., 0] + self._excitation(items, context)

    def _excitation(self, items: Tensor, context: dict[str, Tensor]) -> Tensor:
        """items [B, C] -> [B, C]."""
        ages = context[AGES][:, : items.shape[1]]
        if ages.shape[1] < items.shape[1]:  # negatives drawn for training
            ages = torch.cat([ages, self.relations.ages(items[:, ages.shape[1] :], context)], 1)
        return self._excite(self.categories.index_select(0, items.flatten()).view(items.shape), ages)

    def _excite(self, categories: Tensor, ages: Tensor) -> Tensor:
        """categories int64 [B, C] (or broadcast), ages [B, C, R] -> [B, C]. Only related pairs are computed."""
        row, column, relation = (ages >= 0).nonzero(as_tuple=True)  # [F]
        interval = ages[row, column, relation] / self.time_scalar
        of = categories.expand(ages.shape[:2])[row, column] * ages.shape[2] + relation
        table = torch.stack([getattr(self, name).weight.flatten() for name in PARAMETERS], 1)
        alpha, pi, beta, sigma, mu = table.index_select(0, of).unbind(1)
        beta, sigma = (beta + 1).clamp(*SPAN), (sigma + 1).clamp(*SPAN)
        burst = beta * (-beta * interval).exp()
        bump = (-((interval - mu - 1) / sigma).square() / 2).exp() / (sigma * math.sqrt(2 * math.pi))
        excitation = (self.global_alpha + alpha) * ((pi + 0.5) * burst + (0.5 - pi) * bump)
        flat = excitation.new_zeros(ages.shape[0] * ages.shape[1])
        return flat.index_add(0, row * ages.shape[1] + column, excitation).view(ages.shape[:2])

    @torch.no_grad()
    def precompute(self) -> tuple[Tensor, Tensor]:
        """The vectors of users [n_users, D + 1] and items [n_items, D + 1] whose product is the base intensity, but
        for the user's own bias, which ranks nothing."""
        users, items = self.table.parts()
        return torch.cat([users, torch.ones_like(users[:, :1])], 1), torch.cat([items, self.item_bias.weight], 1)

    @torch.no_grad()
    def score(self, state: tuple[Tensor, Tensor], query: Query) -> Tensor:
        users, items = state
        users = users.index_select(0, query.users)
        bias = self.user_bias.weight.index_select(0, query.users)
        if query.items is None:
            ages = self.relations.ages_of_all(query.context)
            return users @ items.t() + bias + self._excite(self.categories[None], ages)
        return pair_scores(users, items, query.items) + bias + self._excitation(query.items, query.context)


def item_categories(dataset: Dataset, column: str) -> Tensor:
    """The items' categories int64 [n_items], 0 for those that item_meta.csv leaves out. Raises UserError."""
    meta = dataset.item_meta
    if meta is None or column not in meta:
        raise UserError(f"--category_col: item_meta.csv of {dataset.name} has no column {column!r}")
    values = meta[column]
    if values.dtype.kind not in "iu" or (len(values) and values.min() < 0):
        raise UserError(f"--category_col {column} of item_meta.csv must hold integers from 0, got {values.dtype}")
    categories = torch.zeros(dataset.n_items, dtype=torch.int64)
    categories[torch.tensor(meta.index.to_numpy())] = torch.tensor(values.to_numpy(), dtype=torch.int64)
    return categories


def _chunks(rows: Rows) -> list[Rows]:
    """The rows in parts of some hundred thousand candidates, which bounds what a look-up holds."""
    size = max(1, 200_000 // max(rows.items.shape[1], 1))
    return [rows[start : start + size] for start in range(0, len(rows), size)]
