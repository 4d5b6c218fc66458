"""The course of a training run, epoch by epoch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from ans_fast.errors import UserError
from ans_fast.metrics import larger_is_better


@dataclass
class History:
    """One entry an epoch in losses, dev (metrics by name), and seconds (train, evaluate).

    main_metric: what decides. first_spread: the model's `spread` before training. total_seconds: of all epochs, over
    interruptions.
    """

    main_metric: str
    losses: list[float] = field(default_factory=list)
    dev: list[dict[str, float]] = field(default_factory=list)
    test: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: list[list[float]] = field(default_factory=list)
    first_spread: float | None = None
    total_seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.losses)

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> History:
        """Of what `as_dict` gave. Raises ValueError or TypeError where a value is of another kind or not finite."""
        history = cls(**content)
        metrics = [*history.dev, *history.test.values()]
        numbers = [*history.losses, *(s for pair in history.seconds for s in pair), history.total_seconds]
        if (
            not len(history.losses) == len(history.dev) == len(history.seconds)
            or any(result.keys() != history.dev[0].keys() for result in history.dev)
            or any(len(pair) != 2 for pair in history.seconds)
            or not all(isinstance(x, float) and math.isfinite(x) for x in numbers)
            or not all(isinstance(x, float) for result in metrics for x in result.values())  # AUC of one class is NaN
            or not isinstance(history.first_spread, float | None)
        ):
            raise ValueError("its history is damaged")
        return history

    def add(self, loss: float, dev: dict[str, float], train_seconds: float, eval_seconds: float) -> None:
        """An epoch more."""
        self.losses.append(loss)
        self.dev.append(dev)
        self.seconds.append([train_seconds, eval_seconds])

    def values(self) -> list[float]:
        """The main metric of each epoch, turned so that larger is better."""
        sign = 1.0 if larger_is_better(self.main_metric) else -1.0
        if self.dev and self.main_metric not in self.dev[0]:
            raise UserError(f"the checkpoint has no {self.main_metric} of past epochs, only {', '.join(self.dev[0])}")
        return [sign * result[self.main_metric] for result in self.dev]

    def would_be_best(self, dev: dict[str, float]) -> bool:
        """Whether an epoch with these dev metrics would be the best one so far."""
        extended = History(self.main_metric, dev=[*self.dev, dev])
        return extended.best_epoch == len(extended.dev)

    @property
    def best_epoch(self) -> int:
        """The first epoch, from 1, with the best main metric (NaN is never best); 0 before the first."""
        values = self.values()
        best = 0
        for epoch, value in enumerate(values, 1):
            if best == 0 or value > values[best - 1] or values[best - 1] != values[best - 1]:
                best = epoch
        return best

    def should_stop(self, patience: int) -> bool:
        """Whether `patience` epochs brought no new best, or as many never rose; patience 0 never stops."""
        values = self.values()
        if not patience or len(values) <= patience:
            return False
        recent = values[-patience:]
        falling = all(a >= b for a, b in pairwise(recent))
        return falling or len(values) - (self.best_epoch - 1) > patience
