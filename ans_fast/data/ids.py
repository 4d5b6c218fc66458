"""People's own ids of users and items, and their numbers."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ans_fast.data.raw_files import ID_FILES, read_bytes
from ans_fast.errors import UserError


class Ids:
    """Distinct ids of any hashable type; an id's number is its place, from 0.

    Args:
        who: "user" or "item", for messages. values: the ids, in the order of their numbers.
    """

    def __init__(self, who: str, values: Iterable[Any]):
        self.who = who
        self._index = values if isinstance(values, pd.Index) else pd.Index(values, tupleize_cols=False)

    @classmethod
    def number(cls, who: str, column: pd.Series) -> tuple[np.ndarray, Ids]:
        """The numbers int64 [R] of a column without missing values, and the table: in sorted order, or in that of the
        rows where the ids have none. Raises UserError."""
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype(column.cat.categories.dtype)
        try:
            numbers, values = pd.factorize(column, sort=column.dtype != object)
        except TypeError:
            raise UserError(f"{who} must hold ids that can be hashed, such as text or whole numbers") from None
        if column.dtype == object:
            with contextlib.suppress(TypeError):  # of kinds that have no order
                order = np.array(sorted(range(len(values)), key=values.__getitem__))
                numbers, values = np.argsort(order)[numbers], values[order]
        return numbers.astype(np.int64), cls(who, values)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, numbers: Any) -> np.ndarray:
        """The ids at these numbers, in an array of their shape; None where a number is -1."""
        values, numbers = self._index.to_numpy(), np.asarray(numbers)
        found = values[numbers]
        if (numbers < 0).any():
            found = found.astype(object)
            found[numbers < 0] = None
        return found

    def find(self, ids: Any) -> np.ndarray:
        """The numbers int64 [n] of ids, a list or array of them or a single one; -1 for those that are not here. Raises
        UserError for what cannot be an id, such as a list among them."""
        try:
            return self._index.get_indexer(_listed(ids)).astype(np.int64)
        except TypeError as error:
            raise UserError(
                f"{self.who} ids must be text, numbers or anything else that can be hashed: {error}"
            ) from None

    def numbers(self, ids: Any) -> np.ndarray:
        """As `find`, but an id that is not here is a UserError."""
        found = self.find(ids)
        if (found < 0).any():
            unknown = _listed(ids)[found < 0]
            more = f" (nor are {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            raise UserError(f"{self.who} {unknown[0]!r} is not among the {len(self):,} known ones{more}")
        return found

    def plain(self) -> np.ndarray | list[str]:
        """The ids as a file of weights can hold them, int64 [n] or text; `Ids` takes them back. Raises UserError for
        ids that are neither."""
        values = self._index.to_numpy()
        if values.dtype.kind in "iu":
            return values.astype(np.int64)
        if not all(isinstance(value, str) for value in values):
            odd = next(value for value in values if not isinstance(value, str))
            raise UserError(f"{self.who} ids in a file must be text or whole numbers, got {odd!r:.60}")
        return values.tolist()


def natural(texts: pd.Series) -> pd.Series:
    """Ids read as text: whole numbers where all of them are written as Python writes these, so that 007 stays text."""
    plain = all(re.fullmatch("0|-?[1-9][0-9]{0,17}", value) for value in texts.unique())
    return texts.astype(np.int64) if plain else texts


def write_ids(folder: Path, users: dict, items: dict) -> None:
    """Writes a set's id tables, from own ids to new ones."""
    for name, mapping in zip(ID_FILES, (users, items), strict=True):
        (folder / name).write_text(json.dumps(mapping))


def read_ids(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The own ids of users and of items by new id, which counts from 1: place 0 holds 0. Raises UserError."""
    return tuple(_read(folder / name) for name in ID_FILES)


def _read(path: Path) -> np.ndarray:
    try:
        mapping = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        mapping = None
    if not isinstance(mapping, dict) or list(mapping.values()) != list(range(1, len(mapping) + 1)):
        raise UserError(f"{path} is malformed: expected one JSON object of ids and their numbers 1, 2, 3 …")
    own = natural(pd.Series(list(mapping), dtype=str)).to_numpy()
    return np.concatenate([np.zeros(1, own.dtype), own])


def _listed(ids: Any) -> pd.Index:
    many = pd.api.types.is_list_like(ids) and not isinstance(ids, tuple)  # which can be an id itself
    return pd.Index(ids if many else [ids], tupleize_cols=False)
