"""item_meta.csv: features of items (`i_…`) and relations between them (`r_…` lists)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ans_fast.data.tables import Table, column_names


@dataclass(frozen=True, eq=False)
class Relation:
    """A relation as CSR by item id: indptr int64 [n_items + 1]; items int64, in the file's order."""

    indptr: np.ndarray
    items: np.ndarray


@dataclass(frozen=True, eq=False)
class ItemMeta:
    """features by item_id (rows in file order) and relations by column name."""

    features: pd.DataFrame
    relations: dict[str, Relation]


def read_item_meta(path: Path, sep: str, n_items: int) -> ItemMeta:
    """Reads item_id and the i_ and r_ columns. Rows and related ids from n_items on, which no split knows, are left
    out. Raises UserError."""
    names = column_names(path, sep)
    relations = [name for name in names if name.startswith("r_")]
    features = [name for name in names if name.startswith("i_")]
    table = Table(path, {"item_id": "id", **dict.fromkeys(features, "any"), **dict.fromkeys(relations, "list")}, sep)
    ids = table["item_id"]
    if len(np.unique(ids)) != len(ids):
        twice = int(pd.Series(ids).duplicated().to_numpy().argmax())
        raise table.error(twice, f"item_id {ids[twice]} is there a second time")
    known = ids < n_items
    frame = pd.DataFrame({name: table[name] for name in features}, index=pd.Index(ids, name="item_id"))
    return ItemMeta(frame[known], {name: _relation(*table.lists(name), ids, n_items) for name in relations})


def _relation(indptr: np.ndarray, items: np.ndarray, ids: np.ndarray, n_items: int) -> Relation:
    owners = np.repeat(ids, np.diff(indptr))
    keep = (owners < n_items) & (items < n_items)
    owners, items = owners[keep], items[keep]
    starts = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=n_items))])
    return Relation(starts, items[np.argsort(owners, kind="stable")])
