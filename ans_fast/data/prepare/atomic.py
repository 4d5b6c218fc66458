"""RecBole's atomic files: tab-separated, the first line `user_id:token`, `item_id:token` and so on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ans_fast.data.prepare.plain import PlainTable
from ans_fast.errors import UserError


def read_atomic(path: Path, min_rating: float | None = None) -> pd.DataFrame:
    """user and item as text, and time where there is a column timestamp; rows rated min_rating or more. UserError."""
    table = PlainTable(path)
    names = [name.split(":")[0] for name in table.first]
    wanted = ["user_id", "item_id"]
    wanted += ["timestamp"] if "timestamp" in names else []
    wanted += ["rating"] if min_rating is not None else []
    for name in wanted:
        if names.count(name) != 1:
            has = f"two columns {name!r}" if name in names else f"no column {name!r}"
            there = repr(", ".join(table.first))[:80]
            raise UserError(f"{path} has {has}, but {there}; its first line must name each once, between tabs")
    text = table.text({name: names.index(name) for name in wanted}, header=True)
    if text.empty:
        raise UserError(f"{path} is empty below its first line")
    for name in ("user_id", "item_id"):
        missing = text[name].to_numpy() == ""
        if missing.any():
            raise table.error(int(missing.argmax()) + 1, f"{name} is missing")
    rows = text[["user_id", "item_id"]].set_axis(["user", "item"], axis=1)
    if "timestamp" in wanted:
        rows["time"] = table.numbers(text, "timestamp")
    if min_rating is None:
        return rows
    rows = rows[table.numbers(text, "rating") >= min_rating]
    if rows.empty:
        raise UserError(f"{path} has no rating of at least {min_rating:g}")
    return rows
