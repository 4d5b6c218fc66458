"""The base of models that look at a user's latest clicks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ans_fast.data import Dataset, Events, TopKSplit
from ans_fast.errors import UserError
from ans_fast.flag_types import natural
from ans_fast.graph import BipartiteGraph
from ans_fast.models.base import Recommender
from ans_fast.models.clicks import Clicks
from ans_fast.nn.histories import histories
from ans_fast.options import Option
from ans_fast.training.batches import Rows


class Sequential(Recommender):
    """A model whose rows bring along their `histories`. TopK rows without any history are not trained on.

    `fit`, `evaluate` and `recommend` need times: Interactions that have some, or a file of such a model. The latter two
    look at the latest clicks of training, as of when the last one of all came.

    Args:
        graph: who clicked what. history_max: L, latest clicks to look at; 0 for all. options: see Recommender.
    """

    history_max = Option(natural, 20, "latest clicks to look at; 0: all")

    def __init__(self, graph: Clicks, **options: Any):
        super().__init__(graph, **options)
        if not isinstance(graph, BipartiteGraph) and graph.times is not None:
            self.clicks = Events(graph.users, graph.items, graph.times)

    @classmethod
    def from_data(cls, dataset: Dataset, graph: BipartiteGraph, **options: Any) -> Sequential:
        model = super().from_data(dataset, graph, **options)
        model.clicks = dataset.clicks
        return model

    def context(self, dataset: Dataset, split: str) -> dict[str, Tensor]:
        return histories(dataset, split, self.history_max)

    def training_rows(self, rows: Rows) -> Rows:
        if self.mode.labelled:
            return rows
        rows = rows.take(rows.context["lengths"].nonzero()[:, 0])
        if not len(rows):
            raise UserError(f"{self.name} learns from earlier clicks, and no user has two of them to train on")
        return rows

    def spread(self, state: Any) -> None:
        """None: scores depend on histories."""

    def rows_of_clicks(self) -> Rows:
        train = self._timed()
        return self.training_rows(self.rows_of(self._dataset(train), "train"))

    def latest(self, users: Tensor) -> dict[str, Tensor]:
        train, (asked, place) = self._timed(), users.unique(return_inverse=True)
        own = asked.cpu().numpy()
        now = np.full(len(own), train.times.max(initial=0))
        context = self.context(self._dataset(train, TopKSplit(own, np.zeros_like(own), now)), "dev")
        return {name: values.to(users.device)[place] for name, values in context.items()}

    def _timed(self) -> TopKSplit:
        if self.clicks is None:
            raise UserError(f"{self.name} needs times of clicks: make it from Interactions with times")
        return TopKSplit(self.clicks.users, self.clicks.items, self.clicks.times)

    def _dataset(self, train: TopKSplit, dev: TopKSplit | None = None) -> Dataset:
        none = TopKSplit(train.users[:0], train.items[:0], train.times[:0])
        dev = none if dev is None else dev
        return Dataset("", TopKSplit.mode, self.graph.n_users, self.graph.n_items, train, dev, train, dev, none, Path())


def last_items(context: dict[str, Tensor]) -> Tensor:
    """The latest click of each row's history int64 [B]; 0 where there is none."""
    return context["history_items"].gather(1, (context["lengths"] - 1).clamp(min=0)[:, None])[:, 0]
