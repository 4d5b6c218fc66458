"""The base of models that look at a user's latest clicks."""

from __future__ import annotations

from typing import Any, NoReturn

from torch import Tensor

from ans_fast.data import Dataset
from ans_fast.errors import UserError
from ans_fast.flag_types import natural
from ans_fast.models.base import Recommender
from ans_fast.nn.histories import histories
from ans_fast.options import Option
from ans_fast.training.batches import Rows


class Sequential(Recommender):
    """A model whose rows bring along their `histories`. TopK rows without any history are not trained on.

    Args:
        graph: who clicked what. history_max: L, latest clicks to look at; 0 for all. options: see Recommender.
    """

    history_max = Option(natural, 20, "latest clicks to look at; 0: all")

    def context(self, dataset: Dataset, split: str) -> dict[str, Tensor]:
        return histories(dataset, split, self.history_max)

    def training_rows(self, rows: Rows) -> Rows:
        if self.mode.labelled:
            return rows
        rows = rows.take(rows.context["lengths"].nonzero()[:, 0])
        if not len(rows):
            raise UserError(f"{self.name} learns from earlier clicks, and no user of train.csv has two rows")
        return rows

    def spread(self, state: Any) -> None:
        """None: scores depend on histories."""

    def fit(self, *_: Any, **__: Any) -> NoReturn:
        """Raises UserError: a graph has no times."""
        raise UserError(f"{self.name} needs times of clicks: train it with python -m ans_fast.run")

    def recommend(self, *_: Any, **__: Any) -> NoReturn:
        """Raises UserError, as `fit`."""
        raise UserError(f"{self.name} needs times of clicks: rank with python -m ans_fast.run --train 0 --load 1")


def last_items(context: dict[str, Tensor]) -> Tensor:
    """The latest click of each row's history int64 [B]; 0 where there is none."""
    return context["history_items"].gather(1, (context["lengths"] - 1).clamp(min=0)[:, None])[:, 0]
