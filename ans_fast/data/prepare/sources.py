"""Which of a folder's files another tool's data set is made of."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from ans_fast.data.own_table import Columns, read_own
from ans_fast.data.prepare.adjacency import read_adjacency
from ans_fast.data.prepare.atomic import read_atomic
from ans_fast.data.raw_files import unpacked_name
from ans_fast.errors import UserError, reason

_ATOMIC, _LISTS = "RecBole's atomic files", "LightGCN's adjacency lists"
_SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Source:
    """files: one with all clicks, or train and test, or train, dev and test; unread: the folder's other files. read:
    of a file, if `rated` of those clicks alone that have a least rating."""

    kind: str
    read: Callable[..., pd.DataFrame]
    files: tuple[Path, ...]
    unread: tuple[str, ...] = ()
    rated: bool = True

    @property
    def path(self) -> Path:
        """The file, or the folder of the files."""
        return self.files[0] if len(self.files) == 1 else self.files[0].parent

    @property
    def told(self) -> str:
        """Its kind, by the names of its files."""
        return f"{self.kind} ({', '.join(_printable(file.name) for file in self.files)})"


def find_source(path: Path, columns: Columns | None, sep: str) -> Source:
    """The set in the folder `path`, or the .inter file or, where `columns` are named, the table itself. Raises
    UserError where there is none, or several."""
    own = not unpacked_name(path).endswith(".inter") and not os.path.isdir(path)
    if columns is not None:
        if not own:
            raise UserError(f"{path} is no table of columns")
        return Source("a table", partial(_read_own, columns=columns, sep=sep), (path,))
    if os.path.isfile(path):
        if own:
            raise UserError(f"{path} is no .inter file: name a table's columns by --user and --item")
        return Source(_ATOMIC, read_atomic, (path,))
    try:
        names = sorted(entry.name for entry in os.scandir(path) if not entry.is_dir())
    except OSError as error:
        raise UserError(f"{path}: {reason(error)}; expected a .inter file or a folder") from None
    if "train.txt" in names:
        lists = [f"{split}.txt" for split in _SPLITS]
        return replace(_source(path, names, _LISTS, read_adjacency, lists), rated=False)
    atomic = [name for name in names if name.endswith((".inter", ".inter.gz"))]
    sets = {name.removesuffix(".train.inter") for name in atomic if name.endswith(".train.inter")}
    if len(sets) == 1:
        given = [f"{next(iter(sets))}.{split}.inter" for split in _SPLITS]
        return _source(path, names, _ATOMIC, read_atomic, given)
    if len(atomic) == 1:
        return Source(_ATOMIC, read_atomic, (path / atomic[0],), _without(names, atomic))
    there = f"{len(atomic)} .inter files and no train.txt"
    raise UserError(f"{path}: {there}; expected a .inter file or a folder with train.txt and test.txt")


def _read_own(path: Path, min_rating: float | None = None, *, columns: Columns, sep: str) -> pd.DataFrame:
    if min_rating is not None:
        if columns.label is None:
            raise UserError("--min_rating needs ratings: name a table's column of them by --label")
        columns = replace(columns, min_label=min_rating)
    return read_own(path, columns, sep)


def _printable(name: str) -> str:
    """A file's name, its odd characters escaped."""
    return name if name.isprintable() else ascii(name)


def _source(path: Path, names: list[str], kind: str, read: Callable[..., pd.DataFrame], given: list[str]) -> Source:
    train, _, test = given
    if test not in names:
        raise UserError(f"{path} has {_printable(train)}, but no {_printable(test)}")
    there = [name for name in given if name in names]
    return Source(kind, read, tuple(path / name for name in there), _without(names, there))


def _without(names: list[str], read: list[str]) -> tuple[str, ...]:
    return tuple(_printable(name) for name in names if name not in read)
