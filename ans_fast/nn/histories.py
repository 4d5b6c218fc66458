"""Histories: the earlier clicks of each row's user as padded tensors, by index arithmetic."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ans_fast.data import Dataset, Events, TopKSplit

SPLITS = ("train", "dev", "test")


def histories(dataset: Dataset, split: str, history_max: int) -> dict[str, Tensor]:
    """The clicks that precede each row of a split, oldest first, as ReChorus's SeqReader counts them.

    A user's clicks are ordered by time, ties as the files have them, train before dev before test. Rows of train see
    clicks of train; rows of dev those of train and dev; rows of test all. In TopK mode a row's history is what comes
    before it in that order; in the other modes it is the clicks of an earlier time.

    Args:
        dataset: any mode. split: "train", "dev" or "test".
        history_max: L, the latest clicks to keep; 0 keeps all.

    Returns:
        history_items int64 [R, L], padded with 0 at the end; lengths int64 [R]; history_ages float32 [R, L], the time
        from a click to the row, 0 at padding.
    """
    rows = getattr(dataset, split)
    clicks, own = _known_clicks(dataset, split)
    order = np.lexsort((clicks.times, clicks.users))
    users, items, times = clicks.users[order], clicks.items[order], clicks.times[order]
    if isinstance(rows, TopKSplit):
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        end = place[own]
    else:
        end = _count_earlier(users, times, rows.users, rows.times)
    begin = np.searchsorted(users, rows.users)
    lengths = end - begin
    if history_max:
        lengths = np.minimum(lengths, history_max)
    column = np.arange(max(int(lengths.max(initial=0)), 1))
    real = column < lengths[:, None]
    at = np.where(real, (end - lengths)[:, None] + column, 0)
    if not len(items):
        items, times = np.zeros(1, np.int64), np.zeros(1)
    return {
        "history_items": torch.from_numpy(np.where(real, items[at], 0)),
        "lengths": torch.from_numpy(lengths),
        "history_ages": torch.from_numpy(np.where(real, rows.times[:, None] - times[at], 0).astype(np.float32)),
    }


def _known_clicks(dataset: Dataset, split: str) -> tuple[Events, slice]:
    """Clicks that rows of `split` may look back on, and which of these (TopK) are the rows themselves."""
    if not isinstance(dataset.train, TopKSplit):
        return (dataset.clicks if split == "train" else dataset.clicked_by_all), slice(0)
    parts = [getattr(dataset, name) for name in SPLITS[: SPLITS.index(split) + 1]]
    known = Events.concatenate(*parts)
    return known, slice(len(known) - len(parts[-1]), len(known))


def _count_earlier(users: np.ndarray, times: np.ndarray, of_users: np.ndarray, of_times: np.ndarray) -> np.ndarray:
    """How many of the pairs (users, times), sorted, are below each pair (of_users, of_times)."""
    n = len(of_users)
    order = np.lexsort((np.repeat([0, 1], [n, len(users)]), np.r_[of_times, times], np.r_[of_users, users]))
    counted = np.cumsum(order >= n)
    counts = np.empty(len(order), np.int64)
    counts[order] = counted
    return counts[:n]
