"""The Top-k reader: user_id, item_id, time, and neg_items in dev and test where candidates are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ans_fast.data.checks import count_repeated_clicks, count_repeated_negatives, table_rows
from ans_fast.data.dataset import Dataset, Events, TopKSplit
from ans_fast.data.tables import Table

_COLUMNS = {"user_id": "id", "item_id": "id", "time": "time"}


def read_topk(name: str, folder: Path, sep: str) -> Dataset:
    """The data set whose train.csv, dev.csv and test.csv lie in folder. Raises UserError."""
    train = Table(folder / "train.csv", _COLUMNS, sep)
    columns = {**_COLUMNS, "neg_items": "list"}
    later = [Table(folder / f"{split}.csv", columns, sep, optional=("neg_items",)) for split in ("dev", "test")]
    n_users, n_items = (
        table_rows(column, [table[column] for table in (train, *later)], folder) for column in ("user_id", "item_id")
    )
    splits = (_split(table, n_items) for table in (train, *later))
    return of_splits(name, n_users, n_items, *splits, folder=folder, sep=sep)


def of_splits(
    name: str, n_users: int, n_items: int, train: TopKSplit, dev: TopKSplit, test: TopKSplit, **more: Any
) -> Dataset:
    """The data set of these rows; more: further fields of Dataset."""
    later_clicks = Events.concatenate(dev, test)
    return Dataset(
        name=name,
        mode=TopKSplit.mode,
        n_users=n_users,
        n_items=n_items,
        clicks=train,
        later_clicks=later_clicks,
        train=train,
        dev=dev,
        test=test,
        repeated_clicks=count_repeated_clicks(train, later_clicks, n_items),
        repeated_negatives=count_repeated_negatives(dev, test),
        **more,
    )


def _split(table: Table, n_items: int) -> TopKSplit:
    negatives = _negatives(table, n_items) if "neg_items" in table else None
    return TopKSplit(table["user_id"], table["item_id"], table["time"], negatives)


def _negatives(table: Table, n_items: int) -> np.ndarray:
    """neg_items as int64 [R, C]; UserError unless every row has the same number, every id occurs in some file, and none
    is the row's item_id."""
    indptr, ids = table.lists("neg_items")
    counts = np.diff(indptr)
    uneven = counts != counts[0]
    if uneven.any():
        row = int(uneven.argmax())
        raise table.error(row, f"neg_items has {counts[row]} ids, the rows before have {counts[0]}; all need as many")
    if counts[0] == 0:
        raise table.error(0, "neg_items is empty; without that column all items are ranked")
    if ids.max() >= n_items:
        at = int((ids >= n_items).argmax())
        most = f"larger than every item_id of the three files ({n_items - 1})"
        raise table.error(at // int(counts[0]), f"neg_items holds {ids[at]}, {most}")
    negatives = ids.reshape(len(counts), -1)
    positive = (negatives == table["item_id"][:, None]).any(axis=1)
    if positive.any():
        row = int(positive.argmax())
        raise table.error(row, f"neg_items holds the row's own item_id {table['item_id'][row]}; take it out")
    return negatives
