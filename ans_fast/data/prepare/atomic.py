"""RecBole's atomic files: tab-separated, the first line `user_id:token`, `item_id:token` and so on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ans_fast.data.own_table import Columns
from ans_fast.data.prepare.plain import PlainTable
from ans_fast.errors import UserError


def read_atomic(path: Path, min_rating: float | None = None) -> pd.DataFrame:
    """user and item as text, and time where there is a column timestamp; rows rated min_rating or more. UserError."""
    table = PlainTable(path)
    names = [name.split(":")[0] for name in table.first]
    time = "timestamp" if "timestamp" in names else None
    columns = Columns.rated("user_id", "item_id", time, "rating", min_rating)
    for name in columns.names:
        if names.count(name) != 1:
            has = f"two columns {name!r}" if name in names else f"no column {name!r}"
            there = repr(", ".join(table.first))[:80]
            raise UserError(f"{path} has {has}, but {there}; its first line must name each once, between tabs")
    return table.clicks(columns, {name: names.index(name) for name in columns.names}, header=True)
