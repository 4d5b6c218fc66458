"""Clicks that are made: as many, and as unequally spread over users and items, as those of real data sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ans_fast import BipartiteGraph
from ans_fast.training.batches import Rows
from benchmarks.cases import distinct_pairs

QUANTILES = (0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1)


@dataclass(frozen=True)
class DataSize:
    """Of the rows to train on. Degrees are clicks of a user or an item at QUANTILES of all."""

    name: str
    clicks: int
    n_users: int
    n_items: int
    user_degrees: tuple[int, ...]
    item_degrees: tuple[int, ...]

    def __str__(self) -> str:
        return self.name

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Distinct users and items, each int64 [clicks]."""
        rng = np.random.default_rng(0)
        sides = (self.n_users, self.user_degrees), (self.n_items, self.item_degrees)
        chances = [rng.permutation(_spread(n, degrees)) for n, degrees in sides]
        return distinct_pairs(rng, *chances, self.clicks)


def _spread(n: int, degrees: tuple[int, ...]) -> np.ndarray:
    """The degrees of all n, float64 [n]: those between two quantiles grow by a factor, not by a summand."""
    return np.exp(np.interp(np.linspace(0, 1, n), QUANTILES, np.log(np.maximum(degrees, 1))))


GOWALLA = DataSize(
    "Gowalla",
    810_128,
    29_858,
    40_981,
    (8, 11, 16, 29, 53, 81, 182, 433, 811),
    (1, 9, 12, 19, 34, 53, 139, 407, 1_415),
)
GROCERY = DataSize(
    "Grocery", 121_892, 14_682, 8_714, (3, 3, 5, 9, 17, 25, 54, 108, 202), (1, 5, 7, 11, 24, 48, 150, 367, 706)
)
ML_100K = DataSize(
    "ML-100K", 80_000, 943, 1_682, (12, 26, 52, 119, 199, 248, 356, 544, 575), (1, 5, 22, 63, 135, 185, 290, 411, 458)
)


@dataclass(frozen=True)
class Data:
    """A made data set on a device: its graph, and its clicks as rows to train on, in no order."""

    size: DataSize
    graph: BipartiteGraph
    rows: Rows


def made(size: DataSize, device: torch.device) -> Data:
    """The data set on `device`, where its graph is built too."""
    users, items = (torch.from_numpy(ids).to(device) for ids in size.pairs())
    return Data(size, BipartiteGraph(users, items, size.n_users, size.n_items), Rows(users, items))
