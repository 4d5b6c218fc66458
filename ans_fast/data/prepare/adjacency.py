"""LightGCN's adjacency lists: `user item item …` a line, whole numbers between blanks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ans_fast.data.raw_files import read_bytes
from ans_fast.errors import UserError

_UNIX_TIME = 100_000_000  # March 1973: no compact id is that large, no time stamp of a click smaller
_TOP_RATING = 10


def read_adjacency(path: Path) -> pd.DataFrame:
    """user and item, int64, in the file's order. Raises UserError, also for a table of `user item rating time`."""
    data = read_bytes(path)
    lines = data.splitlines()
    for number, line in enumerate(lines, 1):
        if not all(part.isdigit() and len(part) < 16 for part in line.split()):
            raise UserError(f"{path} line {number}: expected whole numbers, `user item item …`, got {line[:40]!r}")
    counts = np.array([len(line.split()) for line in lines])
    lengths = counts[counts > 0]
    values = np.array(data.split(), np.int64)
    if _is_table(values, lengths):
        raise UserError(
            f"{path} seems to have a click a line, with its rating or time, not `user item item …`; make it a .inter "
            "file: tabs between values, the first line user_id:token, item_id:token, rating:float, timestamp:float"
        )
    starts = np.cumsum(lengths) - lengths
    is_item = np.ones(len(values), bool)
    is_item[starts] = False
    if not is_item.any():
        raise UserError(f"{path} has users, but no item")
    users = np.repeat(values[starts], lengths)
    return pd.DataFrame({"user": users[is_item], "item": values[is_item]})


def _is_table(values: np.ndarray, lengths: np.ndarray) -> bool:
    """Whether the lines are not lists but clicks: three or four values on each, of which the last is always a Unix
    time, or the third always a rating of 0 to 10 though there are larger items and users come on several lines."""
    width = lengths[0]
    if width not in (3, 4) or (lengths != width).any():
        return False
    users, items, third = values.reshape(-1, width).T[:3]
    rated = third.max() <= _TOP_RATING < items.max() and len(np.unique(users)) < len(users)
    return bool(values[width - 1 :: width].min() >= _UNIX_TIME or rated)
