"""Popularity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ans_fast.graph import BipartiteGraph
from ans_fast.models.base import Recommender
from ans_fast.models.clicks import Clicks
from ans_fast.models.modes import IMPRESSION, TOP_K
from ans_fast.training.batches import Query

if TYPE_CHECKING:
    from ans_fast.data import Dataset


class POP(Recommender):
    """Everyone gets what was clicked most. There is nothing to train.

    Args:
        graph: who clicked what. options: see Recommender.
    """

    name = "POP"
    modes = (TOP_K.name, IMPRESSION.name)
    learns = False

    num_neg = Recommender.num_neg.but(only={"mode": ()})

    def __init__(self, graph: Clicks, **options: Any):
        super().__init__(graph, **options)
        self.register_buffer("popularity", self.graph.degrees[self.graph.n_users :].float())

    @classmethod
    def from_data(cls, dataset: Dataset, graph: BipartiteGraph, **options: Any) -> POP:
        """Counts every click, where the graph counts every pair once."""
        model = super().from_data(dataset, graph, **options)
        clicks = torch.tensor(dataset.clicks.items)
        model.popularity = torch.bincount(clicks, minlength=dataset.n_items).float().to(graph.device)
        return model

    def precompute(self) -> Tensor:
        """Clicks of each item: float32 [n_items]."""
        return self.popularity

    def score(self, state: Tensor, query: Query) -> Tensor:
        if query.items is None:
            return state.repeat(len(query.users), 1)
        return state.index_select(0, query.items.flatten()).view(query.items.shape)
