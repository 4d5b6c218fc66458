"""Checks of every data set that is read, from CSV files or from a cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ans_fast.data.dataset import Dataset, Events, ImpressionLists, Labelled, TopKSplit
from ans_fast.data.raw_files import MAX_ID, MAX_TIME
from ans_fast.errors import UserError

_SPARSE_ROWS = 1_000_000  # a table of fewer rows costs nothing worth refusing
_SPARSE_TIMES = 10


def table_rows(column: str, parts: list[np.ndarray], folder: Path) -> int:
    """How many rows a table by these ids has: the largest + 1.

    Raises UserError where most rows would be of ids that never occur, before anybody asks for their memory.
    """
    rows = 1 + max(int(ids.max(initial=0)) for ids in parts)
    if rows > _SPARSE_ROWS:
        seen = np.zeros(rows, bool)
        for ids in parts:
            seen[ids] = True
        distinct = np.count_nonzero(seen)
        if rows > _SPARSE_TIMES * distinct:
            raise UserError(
                f"{folder}: {column} goes up to {rows - 1:,}, of which {distinct:,} occur; a table would have {rows:,} "
                f"rows, {rows * 64 * 4 / 1e9:.1f} GB at emb_size 64; number the ids 1, 2, 3 … alike in all files"
            )
    return rows


def count_repeated_clicks(clicks: Events, later: Events, n_items: int) -> int:
    """How many of the later clicks are of an item that their user has among clicks."""
    return int(np.isin(later.users * n_items + later.items, clicks.users * n_items + clicks.items).sum())


def count_repeated_negatives(*splits: TopKSplit) -> int:
    """How many rows hold an item twice in neg_items."""
    given = [np.sort(split.neg_items, axis=1) for split in splits if split.neg_items is not None]
    return sum(int((ids[:, 1:] == ids[:, :-1]).any(axis=1).sum()) for ids in given)


def check_dataset(dataset: Dataset) -> None:
    """Raises ValueError unless every array is as `dataset.py` describes it: dtypes, shapes, ids, times, labels."""
    splits = (dataset.train, dataset.dev, dataset.test)
    parts = (dataset.clicks, dataset.later_clicks, *splits)
    _require(np.array([dataset.n_users - 1, dataset.n_items - 1]), np.int64, (2,), 1, MAX_ID)
    _require(np.array([dataset.repeated_clicks, dataset.repeated_negatives]), np.int64, (2,), 0, np.inf)
    for part in parts:
        _check_part(part, dataset.n_users, dataset.n_items)
    if not all(map(len, (dataset.clicks, *splits))):
        raise ValueError("no rows")
    for column, rows in (("users", dataset.n_users), ("items", dataset.n_items)):
        ids = [getattr(part, column).ravel() for part in parts]
        table_rows(column, [*ids, np.array([rows - 1])], dataset.folder)


def _check_part(part: Events | ImpressionLists, n_users: int, n_items: int) -> None:
    rows = (part.users.size,)
    _require(part.users, np.int64, rows, 1, n_users - 1)
    _require(part.times, np.float64, rows, -MAX_TIME, MAX_TIME)
    if isinstance(part, ImpressionLists):
        _check_lists(part, rows, n_items)
        return
    _require(part.items, np.int64, rows, 1, n_items - 1)
    if isinstance(part, Labelled):
        _require(part.labels, np.float32, rows, 0, 1)
        if (part.labels % 1).any():
            raise ValueError("labels between 0 and 1")
    if isinstance(part, TopKSplit) and part.neg_items is not None:
        _require(part.neg_items, np.int64, (*rows, max(1, *part.neg_items.shape[1:])), 1, n_items - 1)
        if (part.neg_items == part.items[:, None]).any():
            raise ValueError("neg_items with the item to find")


def _check_lists(part: ImpressionLists, rows: tuple[int], n_items: int) -> None:
    width = max(2, *part.items.shape[1:])
    _require(part.items, np.int64, (*rows, width), 0, n_items - 1)
    _require(part.n_pos, np.int64, rows, 1, width)
    _require(part.n_neg, np.int64, rows, 1, width)
    lengths = part.n_pos + part.n_neg
    _require(lengths, np.int64, rows, 2, width)
    if not np.array_equal(part.items > 0, np.arange(width) < lengths[:, None]):
        raise ValueError("lists with gaps")


def _require(array: np.ndarray, dtype: type, shape: tuple[int, ...], low: float, high: float) -> None:
    """ValueError unless the array has this dtype and shape and all of its values lie in low … high; NaN does not."""
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}")
    if array.size and not (array.min() >= low and array.max() <= high):
        raise ValueError(f"values from {array.min()} to {array.max()}, expected {low} to {high}")
