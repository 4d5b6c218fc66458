"""A person's own table of clicks: columns by any names, ids of any type, times as numbers or dates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ans_fast.data.ids import natural
from ans_fast.data.raw_files import MAX_TIME
from ans_fast.data.tables import Table, shown_cell
from ans_fast.errors import UserError


@dataclass(frozen=True)
class Columns:
    """The columns' names. time may be None. label: numbers; rows below min_label are no clicks; None: all rows are."""

    user: str = "user"
    item: str = "item"
    time: str | None = None
    label: str | None = None
    min_label: float = 1

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise UserError(f"user, item, time and label must be different columns, got {', '.join(self.names)}")

    @classmethod
    def rated(cls, user: str, item: str, time: str | None, rating: str, least: float | None) -> Columns:
        """Those of clicks that are ratings of `least` or more; without it all rows are, and ratings are not read."""
        return cls(user, item, time) if least is None else cls(user, item, time, rating, least)

    @property
    def names(self) -> list[str]:
        """Those that are given."""
        return [name for name in (self.user, self.item, self.time, self.label) if name is not None]


def read_own(path: Path, columns: Columns, sep: str) -> pd.DataFrame:
    """The clicks of a CSV file, as `clicks_of` gives them. Raises UserError, which names file, line and column."""
    table = Table(path, dict.fromkeys(columns.names, "text"), sep)
    frame = pd.DataFrame({name: table[name] for name in columns.names})
    for name in (columns.user, columns.item):
        frame[name] = natural(frame[name])
    return clicks_of(frame, columns, str(path), table.error)


def clicks_of(
    frame: pd.DataFrame, columns: Columns, where: str, error: Callable[[int, str], UserError]
) -> pd.DataFrame:
    """user and item, and time as float64 where there is such a column: dates as seconds since 1970, in UTC unless they
    say otherwise. The rows that are clicks, in their order.

    where: the frame's name, for messages. error: makes a UserError of a row's number, from 0, and what is wrong there.
    """
    missing = [name for name in columns.names if name not in frame]
    if missing:
        raise UserError(f"{where} has no column {missing[0]!r}, but {', '.join(map(repr, frame.columns))[:200]}")
    if frame.empty:
        raise UserError(f"{where} has no rows")
    rows = frame[[columns.user, columns.item]].set_axis(["user", "item"], axis=1).reset_index(drop=True)
    for name, own in zip(rows, (columns.user, columns.item), strict=True):
        missing = rows[name].isna()
        if missing.any():
            raise error(int(missing.argmax()), f"{own} is missing")
    if columns.time is not None:
        rows["time"] = _checked(frame, columns.time, _seconds, "a number or a date such as 2024-03-09 18:30:00", error)
    if columns.label is not None:
        rows = rows[_checked(frame, columns.label, _numbers, "a number", error) >= columns.min_label]
        if rows.empty:
            raise UserError(f"{where} has no row with a {columns.label} of at least {columns.min_label:g}")
    return rows


def _checked(
    frame: pd.DataFrame,
    name: str,
    read: Callable[[pd.Series], np.ndarray],
    expected: str,
    error: Callable[[int, str], UserError],
) -> np.ndarray:
    values = read(frame[name])
    good = np.abs(values) <= MAX_TIME
    if not good.all():
        row = int(good.argmin())
        cell = frame[name].iloc[row]
        raise error(row, f"{name} is {'missing' if pd.isna(cell) else shown_cell(cell)}, expected {expected}")
    return values


def _numbers(values: pd.Series) -> np.ndarray:
    """float64, NaN where there is no number."""
    try:
        return pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    except OverflowError:  # a whole number beyond float64, which as text is infinite
        return _numbers(values.astype(str))


def _seconds(values: pd.Series) -> np.ndarray:
    """Numbers as they are, dates as seconds, NaN for anything else; the first row says which they are."""
    if not pd.api.types.is_datetime64_any_dtype(values) and np.isfinite(_numbers(values[:1])[0]):
        return _numbers(values)
    dates = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
    return (dates - pd.Timestamp("1970-01-01", tz="UTC")).dt.total_seconds().to_numpy(np.float64)
