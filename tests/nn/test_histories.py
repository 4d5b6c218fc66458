"""Histories against a literal, slow reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ans_fast.data import Dataset, Events, TopKSplit
from ans_fast.data.dataset import Labelled
from ans_fast.nn.histories import SPLITS, histories


def split(rng: np.random.Generator, n: int, begin: int) -> TopKSplit:
    return TopKSplit(rng.integers(1, 9, n), rng.integers(1, 20, n), rng.integers(begin, begin + 6, n).astype(float))


def make(seed: int, mode: str = "TopK", n_train: int = 60) -> Dataset:
    rng = np.random.default_rng(seed)
    train, dev, test = split(rng, n_train, 0), split(rng, 12, 4), split(rng, 12, 6)
    rows = {"train": train, "dev": dev, "test": test}
    if mode == "CTR":
        rows = {k: Labelled(v.users, v.items, v.times, (v.items % 2).astype(np.float32)) for k, v in rows.items()}
    clicks = [v if mode == "TopK" else clicked(v) for v in rows.values()]
    later = Events.concatenate(*clicks[1:])
    return Dataset("made", mode, 9, 20, clicks[0], later, **rows, folder=Path())


def clicked(rows: Labelled) -> Events:
    return Events(*(getattr(rows, f)[rows.labels == 1] for f in ("users", "items", "times")))


def literal(dataset: Dataset, name: str, history_max: int) -> list[tuple[list[int], list[float]]]:
    """Row by row, as ReChorus walks a user's sorted clicks."""
    known = []
    for part in SPLITS[: SPLITS.index(name) + 1]:
        rows = getattr(dataset, part)
        known += [
            (u, t, i, part, r) for r, (u, i, t) in enumerate(zip(rows.users, rows.items, rows.times, strict=True))
        ]
    known.sort(key=lambda click: click[1])  # stable
    found = []
    rows = getattr(dataset, name)
    for r, (user, time) in enumerate(zip(rows.users, rows.times, strict=True)):
        before = []
        for u, t, i, part, place in known:
            if (part, place) == (name, r):
                break
            if u == user:
                before.append((int(i), float(time - t)))
        before = before[-history_max:] if history_max else before
        found.append(([i for i, _ in before], [age for _, age in before]))
    return found


@pytest.mark.parametrize("history_max", [0, 1, 3, 20])
@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("seed", range(3))
def test_equal_a_literal_reader(seed, name, history_max):
    dataset = make(seed)
    got = histories(dataset, name, history_max)
    expected = literal(dataset, name, history_max)
    assert got["lengths"].tolist() == [len(items) for items, _ in expected]
    width = max(got["lengths"].max(), 1)
    assert got["history_items"].tolist() == [items + [0] * (width - len(items)) for items, _ in expected]
    assert got["history_ages"].tolist() == [ages + [0.0] * (width - len(ages)) for _, ages in expected]
    assert (got["history_ages"] >= 0).all()


@pytest.mark.parametrize("name", SPLITS)
def test_rows_of_other_modes_see_earlier_clicks_only(name):
    dataset = make(7, "CTR")
    known = dataset.clicks if name == "train" else dataset.clicked_by_all
    rows, got = getattr(dataset, name), histories(dataset, name, 0)
    for r in range(len(rows)):
        earlier = (known.users == rows.users[r]) & (known.times < rows.times[r])
        order = known.times[earlier].argsort(kind="stable")
        assert got["history_items"][r, : got["lengths"][r]].tolist() == known.items[earlier][order].tolist()


def test_no_rows():
    got = histories(make(0, n_train=0), "train", 20)
    assert got["history_items"].shape == (0, 1)
    assert got["history_items"].dtype == torch.int64
