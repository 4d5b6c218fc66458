"""A person's own clicks in Python: from a table to a graph, without files in between."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from ans_fast.data.ids import Ids
from ans_fast.data.own_table import Columns, clicks_of, read_own
from ans_fast.data.prepare import rules, splits
from ans_fast.errors import UserError
from ans_fast.flag_types import moment
from ans_fast.graph import BipartiteGraph
from ans_fast.packages import optional


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """Who clicked what, perhaps when, with the ids that you know users and items by.

    Make one by `from_dataframe`, `from_csv` or `from_parquet`. Of clicks that a user repeats on an item the earliest
    counts.

    Attributes:
        users, items: int64 [R], numbers of users and items: places in user_ids and item_ids.
        times: float64 [R], in the table's unit, dates in seconds since 1970; None where no column was named.
        user_ids, item_ids: the ids of these numbers. The parts of `split` share them.
        duplicates: how many rows were left out as repeats.
    """

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray | None
    user_ids: Ids
    item_ids: Ids
    duplicates: int = 0

    @classmethod
    def from_dataframe(
        cls,
        frame: pd.DataFrame,
        user: str = "user",
        item: str = "item",
        time: str | None = None,
        label: str | None = None,
        min_label: float = 1,
    ) -> Interactions:
        """The rows of a table as clicks.

        Args:
            frame: a row a click. user, item: the columns of ids: text, numbers, anything that can be hashed.
            time: a column of numbers or dates. label: a column of numbers, of which those below min_label are no
            clicks, such as ratings, or 1 and 0 for a click and none.

        Raises:
            UserError: there is no such column, no row, or a value is missing or no number or date; the message names
            the row, from 0.
        """
        rows = clicks_of(
            frame,
            Columns(user, item, time, label, min_label),
            "the table",
            lambda row, message: UserError(f"row {row} of the table: {message}"),
        )
        return cls._of_rows(rows)

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        user: str = "user",
        item: str = "item",
        time: str | None = None,
        label: str | None = None,
        min_label: float = 1,
        sep: str = ",",
    ) -> Interactions:
        """As `from_dataframe`, from a UTF-8 file whose first line names the columns. Ids are whole numbers where all of
        a column are, without leading zeros; else text. Errors name the line."""
        return cls._of_rows(read_own(Path(path), Columns(user, item, time, label, min_label), sep))

    @classmethod
    def from_parquet(
        cls,
        path: str | Path,
        user: str = "user",
        item: str = "item",
        time: str | None = None,
        label: str | None = None,
        min_label: float = 1,
    ) -> Interactions:
        """As `from_dataframe`, from a Parquet file. Needs pyarrow."""
        optional("pyarrow", "from_parquet")
        try:
            frame = pd.read_parquet(path, engine="pyarrow")
        except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
            raise UserError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
        return cls.from_dataframe(frame, user, item, time, label, min_label)

    @classmethod
    def _of_rows(cls, rows: pd.DataFrame) -> Interactions:
        users, user_ids = Ids.number("user", rows["user"])
        items, item_ids = Ids.number("item", rows["item"])
        numbered = rows.assign(user=users, item=items)
        once = rules.drop_repeats(numbered)
        return cls._of_numbers(once, user_ids, item_ids, len(numbered) - len(once))

    @classmethod
    def _of_numbers(cls, rows: pd.DataFrame, user_ids: Ids, item_ids: Ids, duplicates: int) -> Interactions:
        columns = (rows[name].to_numpy() if name in rows else None for name in ("user", "item", "time"))
        return cls(*columns, user_ids, item_ids, duplicates)

    def _rows(self) -> pd.DataFrame:
        rows = pd.DataFrame({"user": self.users, "item": self.items})
        return rows if self.times is None else rows.assign(time=self.times)

    def __len__(self) -> int:
        return len(self.users)

    @property
    def n_users(self) -> int:
        """How many ids of users there are."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """How many ids of items there are."""
        return len(self.item_ids)

    @cached_property
    def graph(self) -> BipartiteGraph:
        """The clicks as a graph of all users and items by their numbers."""
        return BipartiteGraph(self.users, self.items, self.n_users, self.n_items)

    def split(
        self,
        how: str = "leave_one_out",
        dev: float = splits.DEV,
        test: float = splits.TEST,
        seed: int = 0,
        test_from: str | float | datetime.date | None = None,
    ) -> tuple[Interactions, Interactions, Interactions]:
        """Train, dev and test, with the ids of the whole.

        Args:
            how: "leave_one_out": each user's last click is for test, the one before for dev, drawn where there are no
            times. "ratio": shares of each user's clicks are drawn. "time": the latest clicks of all are for test, those
            before them for dev. "date": clicks from `test_from` on are for test, a drawn share of the earlier ones for
            dev; users who lack one of both, and items that none of the others clicked earlier, are in no part.
            dev, test: the shares, but of leave_one_out. seed: of the draws. test_from: a date, or a number in the
            times' unit.

        Raises:
            UserError: there is no such split, or a part would be empty.
        """
        first = None if test_from is None else moment.taken("test_from", test_from)
        frames, _ = splits.split_rows(self._rows(), how, seed, dev, test, first)
        train, dev_part, test_part = (self._of_numbers(f.sort_index(), self.user_ids, self.item_ids, 0) for f in frames)
        return train, dev_part, test_part

    def k_core(self, n: int) -> Interactions:
        """The clicks of users and items that have at least n of them, of what is left; other ids are forgotten. Raises
        UserError where nothing is left."""
        rows = rules.k_core(self._rows(), n)
        users, user_ids = _compact(rows["user"], self.user_ids)
        items, item_ids = _compact(rows["item"], self.item_ids)
        return self._of_numbers(rows.assign(user=users, item=items), user_ids, item_ids, self.duplicates)

    def to_dataframe(self) -> pd.DataFrame:
        """user and item by their ids, and time where there are times."""
        rows = self._rows()
        return rows.assign(user=self.user_ids[rows["user"]], item=self.item_ids[rows["item"]])

    def __repr__(self) -> str:
        times = "without times" if self.times is None else "with times"
        repeats = f", {self.duplicates:,} repeated ones left out" if self.duplicates else ""
        return f"Interactions({self.n_users:,} users, {self.n_items:,} items, {len(self):,} clicks {times}{repeats})"


def _compact(numbers: pd.Series, ids: Ids) -> tuple[np.ndarray, Ids]:
    """The numbers anew, without those that do not occur, and their ids."""
    kept, compact = np.unique(numbers, return_inverse=True)
    return compact.astype(np.int64), Ids(ids.who, ids[kept])
