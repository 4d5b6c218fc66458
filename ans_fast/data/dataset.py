"""A data set once it is read: NumPy arrays in frozen dataclasses."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ans_fast.data.description import Description, read_description
from ans_fast.data.raw_files import META_FILE

if TYPE_CHECKING:
    import pandas as pd

    from ans_fast.data.meta import ItemMeta, Relation


@dataclass(frozen=True, eq=False)
class Events:
    """Rows in file order: who met which item when.

    users int64 [R], items int64 [R] (ids from 1; 0 is padding and never occurs), times float64 [R] (the file's unit,
    usually Unix seconds).
    """

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray

    def __len__(self) -> int:
        return len(self.users)

    @staticmethod
    def concatenate(*parts: Events) -> Events:
        """The rows of all parts, one after the other."""
        return Events(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("users", "items", "times")))


@dataclass(frozen=True, eq=False)
class TopKSplit(Events):
    """Rows whose item is the one to find among neg_items int64 [R, C], or among all items where neg_items is None."""

    mode: ClassVar[str] = "TopK"

    neg_items: np.ndarray | None = None

    @property
    def summary(self) -> str:
        """Its size, in words."""
        candidates = "" if self.neg_items is None else f", {self.neg_items.shape[1]} neg_items each"
        return f"{len(self):,} rows of {len(np.unique(self.users)):,} users{candidates}"


@dataclass(frozen=True, eq=False)
class Labelled(Events):
    """Rows with labels float32 [R]: 1 for a click, 0 for an item that was shown and not clicked."""

    mode: ClassVar[str] = "CTR"

    labels: np.ndarray

    @property
    def summary(self) -> str:
        """Its size, in words."""
        return f"{len(self):,} rows of {len(np.unique(self.users)):,} users, {self.labels.mean():.1%} clicks"


@dataclass(frozen=True, eq=False)
class ImpressionLists:
    """Lists a user was shown, ordered by user, then by impression key.

    users int64 [L]; items int64 [L, W], 0-padded: the n_pos clicked items from column 0, then at once the n_neg others,
    each in file order; n_pos, n_neg int64 [L], both at least 1; times float64 [L] of each list's first row.
    """

    mode: ClassVar[str] = "Impression"

    users: np.ndarray
    items: np.ndarray
    n_pos: np.ndarray
    n_neg: np.ndarray
    times: np.ndarray

    def __len__(self) -> int:
        return len(self.users)

    @property
    def summary(self) -> str:
        """Their size, in words."""
        return (
            f"{len(self):,} lists of {len(np.unique(self.users)):,} users, "
            f"{self.n_pos.mean():.1f} clicked and {self.n_neg.mean():.1f} other items a list"
        )


Split = TopKSplit | ImpressionLists | Labelled
SPLIT_TYPES: dict[str, type[Split]] = {kind.mode: kind for kind in (TopKSplit, ImpressionLists, Labelled)}  # by mode


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set with its three splits.

    mode names what the splits are, see SPLIT_TYPES. n_users and n_items are the largest id + 1 over the three files.
    clicks are the train rows that make graph and histories: all rows in TopK mode, those with label 1 otherwise, also
    where a row's list was dropped from `train`. later_clicks are the same of dev and test. fingerprint is a digest of
    the files and options that the set was read from, "" where it was not read from files: two sets with one fingerprint
    are the same. repeated_clicks counts the later_clicks on an item that their user has among clicks,
    repeated_negatives the rows of dev and test that hold an item twice in neg_items. protocol names the rules by which
    other files than ReChorus's were read, see `load`, and protocol_description says what a description in the folder
    would.
    """

    name: str
    mode: str
    n_users: int
    n_items: int
    clicks: Events
    later_clicks: Events
    train: Split
    dev: Split
    test: Split
    folder: Path
    sep: str = "\t"
    protocol: str | None = None
    protocol_description: Description | None = None
    fingerprint: str = ""
    repeated_clicks: int = 0
    repeated_negatives: int = 0

    @cached_property
    def clicked_by_all(self) -> Events:
        """The clicks of train, dev and test, in this order: what test_all leaves out of a user's candidates."""
        return Events.concatenate(self.clicks, self.later_clicks)

    @property
    def remarks(self) -> list[str]:
        """Facts of the rows that a reader of results should know, a line each."""
        lines = [] if self.protocol is None else [f"Split by protocol {self.protocol}: {self.description.split}"]
        if self.repeated_clicks:
            clicks = f"{self.repeated_clicks:,} of {len(self.later_clicks):,}"
            lines.append(f"{clicks} clicks of dev and test are on an item that their user clicked in train")
        if self.repeated_negatives:
            rows = f"{self.repeated_negatives:,} of {len(self.dev) + len(self.test):,}"
            lines.append(f"{rows} rows of dev and test hold an item more than once in neg_items")
        return lines

    @cached_property
    def description(self) -> Description:
        """That of its protocol, or the one in the set's folder, read on first use."""
        return self.protocol_description or read_description(self.folder)

    @cached_property
    def _meta(self) -> ItemMeta | None:
        from ans_fast.data.meta import read_item_meta

        path = self.folder / META_FILE
        return read_item_meta(path, self.sep, self.n_items) if os.path.exists(path) else None

    @property
    def item_meta(self) -> pd.DataFrame | None:
        """item_meta.csv by item_id, without its `r_` columns; None where there is no such file. Read on first use."""
        return self._meta.features if self._meta else None

    @property
    def item_relations(self) -> dict[str, Relation]:
        """The `r_` columns of item_meta.csv by name, each an item-to-items CSR; empty where there are none."""
        return self._meta.relations if self._meta else {}
