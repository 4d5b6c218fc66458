"""The CTR reader, and the Impression reader on top of it: user_id, item_id, time, label, perhaps an impression key."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ans_fast.data.checks import count_repeated_clicks, table_rows
from ans_fast.data.dataset import Dataset, Events, ImpressionLists, Labelled
from ans_fast.data.impressions import ListLimits, make_lists
from ans_fast.data.tables import Table
from ans_fast.errors import UserError

_COLUMNS = {"user_id": "id", "item_id": "id", "time": "time", "label": "label"}
_SPLITS = ("train", "dev", "test")


def read_ctr(name: str, folder: Path, sep: str) -> Dataset:
    """The data set in folder with a row a label. Raises UserError."""
    rows = [_rows(Table(folder / f"{split}.csv", _COLUMNS, sep)) for split in _SPLITS]
    return _dataset(name, folder, sep, rows, rows)


def read_impressions(name: str, folder: Path, sep: str, impression_key: str, limits: ListLimits) -> Dataset:
    """The data set in folder with the rows of one user and one value of column impression_key as one list.

    Raises UserError.
    """
    columns = {**_COLUMNS} if impression_key in _COLUMNS else {**_COLUMNS, impression_key: "any"}
    tables = [Table(folder / f"{split}.csv", columns, sep) for split in _SPLITS]
    rows = [_rows(table) for table in tables]
    lists = []
    for split, table, part in zip(_SPLITS, tables, rows, strict=True):
        max_pos, max_neg = limits.of(split)
        lists.append(make_lists(part, _codes(table[impression_key]), max_pos, max_neg))
        if not len(lists[-1]):
            raise UserError(
                f"{table.path}: no user has both a label 1 and a label 0 under one {impression_key!r}, "
                "so no list is left; check --impression_idkey, or use CTR mode"
            )
    return _dataset(name, folder, sep, rows, lists)


def _rows(table: Table) -> Labelled:
    return Labelled(table["user_id"], table["item_id"], table["time"], table["label"].astype(np.float32))


def _codes(keys: np.ndarray) -> np.ndarray:
    """Keys of any type as numbers of the same order."""
    return keys if keys.dtype.kind in "iuf" else np.unique(keys.astype(str), return_inverse=True)[1]


def _clicks(rows: Labelled) -> Events:
    at = np.flatnonzero(rows.labels)
    return Events(rows.users[at], rows.items[at], rows.times[at])


def _dataset(
    name: str, folder: Path, sep: str, rows: list[Labelled], splits: list[Labelled] | list[ImpressionLists]
) -> Dataset:
    clicks = _clicks(rows[0])
    if not len(clicks):
        raise UserError(f"{folder / 'train.csv'} has no row with label 1, so there is no click to learn from")
    later_clicks = Events.concatenate(_clicks(rows[1]), _clicks(rows[2]))
    n_users = table_rows("user_id", [part.users for part in rows], folder)
    n_items = table_rows("item_id", [part.items for part in rows], folder)
    return Dataset(
        name=name,
        mode=splits[0].mode,
        n_users=n_users,
        n_items=n_items,
        clicks=clicks,
        later_clicks=later_clicks,
        train=splits[0],
        dev=splits[1],
        test=splits[2],
        folder=folder,
        sep=sep,
        repeated_clicks=count_repeated_clicks(clicks, later_clicks, n_items),
    )
