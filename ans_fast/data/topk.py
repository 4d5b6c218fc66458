"""The Top-k reader: user_id, item_id, time, and neg_items in dev and test where candidates are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ans_fast.data.dataset import Dataset, Interactions, TopKSplit
from ans_fast.data.tables import Table

_COLUMNS = {"user_id": "id", "item_id": "id", "time": "time"}


def read_topk(name: str, folder: Path, sep: str) -> Dataset:
    """The data set whose train.csv, dev.csv and test.csv lie in folder. Raises UserError."""
    train = Table(folder / "train.csv", _COLUMNS, sep)
    columns = {**_COLUMNS, "neg_items": "list"}
    later = [Table(folder / f"{split}.csv", columns, sep, optional=("neg_items",)) for split in ("dev", "test")]
    n_users, n_items = (1 + max(int(t[column].max()) for t in (train, *later)) for column in ("user_id", "item_id"))
    split = _split(train, n_items)
    dev, test = (_split(table, n_items) for table in later)
    return Dataset(
        name=name,
        mode="TopK",
        n_users=n_users,
        n_items=n_items,
        clicks=split,
        later_clicks=Interactions.concatenate(dev, test),
        train=split,
        dev=dev,
        test=test,
        folder=folder,
        sep=sep,
    )


def _split(table: Table, n_items: int) -> TopKSplit:
    negatives = _negatives(table, n_items) if "neg_items" in table else None
    return TopKSplit(table["user_id"], table["item_id"], table["time"], negatives)


def _negatives(table: Table, n_items: int) -> np.ndarray:
    """neg_items as int64 [R, C]; UserError unless every row has the same number and every id occurs in some file."""
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
    return ids.reshape(len(counts), -1)
