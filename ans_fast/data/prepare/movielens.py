"""MovieLens-1M's ratings.dat (and movies.dat) into ML_1MTOPK and ML_1MCTR."""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from ans_fast.data.description import Description
from ans_fast.data.prepare.rules import Frames, add_time_context, k_core, known_only
from ans_fast.data.prepare.write import write_set
from ans_fast.data.raw_files import read_bytes
from ans_fast.errors import UserError

_CONTEXT = ("c_hour_c", "c_weekday_c", "c_period_c", "c_day_f")
_SPLIT = "by time: the first 80 % of days, the next 10 %, the last 10 %"
_CHUNK = 20


def prepare_topk(raw: Path, target: Path, seed: int, utc_offset: float) -> None:
    """Ratings of 4 and 5 are clicks. Old ids are sorted as text, as in the published set."""
    rows = _read(raw, utc_offset)
    rows = rows[rows.label == 1].assign(user=rows.user.astype(str), item=rows.item.astype(str))
    train, dev, test = _split_by_day(rows)
    dev, test = (part.sort_values("time", kind="stable") for part in (dev, test))
    description = Description("MovieLens-1M, ratings of 4 and 5", _SPLIT, seed)
    write_set(target, (train, dev, test), description, _CONTEXT, neg_items=True, item_meta=_meta(raw, str))


def prepare_ctr(raw: Path, target: Path, utc_offset: float) -> None:
    """All ratings, label 1 from 4 stars; impressions are chunks of at most 20 of a user's rows in time."""
    rows = _read(raw, utc_offset).sort_values(["user", "time"], kind="stable")
    frames = tuple(part.assign(impression_id=_chunks(part.user.to_numpy())) for part in _split_by_day(rows))
    columns = ("label", *_CONTEXT, "impression_id")
    write_set(target, frames, Description("MovieLens-1M", _SPLIT), columns, item_meta=_meta(raw, int))


def read_ratings(path: Path) -> pd.DataFrame:
    """user, item, rating and time, int64, of ratings.dat. Raises UserError."""
    text = read_bytes(path)
    try:  # "1::1193::5::978300760" at single colons: every second column is empty
        numbers = dict.fromkeys((0, 2, 4, 6), np.int64)
        with np.errstate(invalid="ignore"):  # a float too large for an id: the ValueError is enough
            table = pd.read_csv(io.BytesIO(text), sep=":", header=None, dtype=numbers, quoting=csv.QUOTE_NONE)
        digits = not text.translate(None, b"0123456789:\r\n")  # pandas takes -1e18 for an integer too
        whole = digits and table.shape[1] == 7 and table[[1, 3, 5]].isna().all(axis=None)
    except (ValueError, OverflowError):
        whole = False
    if not whole:
        for number, line in enumerate(text.splitlines(), 1):
            if not re.fullmatch(rb"\d{1,18}(::\d{1,18}){3}", line):
                raise UserError(f"{path} line {number}: expected UserID::MovieID::Rating::Timestamp, got {line[:40]!r}")
        raise UserError(f"{path} is malformed")
    return table[[0, 2, 4, 6]].set_axis(["user", "item", "rating", "time"], axis=1)


def _read(raw: Path, utc_offset: float) -> pd.DataFrame:
    """The ratings' 5-core (one pass, as published), with label and context."""
    rows = read_ratings(raw if os.path.isfile(raw) else raw / "ratings.dat")
    rows["label"] = (rows.rating >= 4).astype(np.int64)
    return add_time_context(k_core(rows, rounds=1), utc_offset)


def _split_by_day(rows: pd.DataFrame) -> Frames:
    """The first 80 % of days, the next 10 %, the last 10 %; the latter two without users and items unseen in train."""
    day, last = rows.c_day_f, rows.c_day_f.max()
    train = rows[day <= last * 0.8]
    dev = known_only(rows[(day > last * 0.8) & (day <= last * 0.9)], train)
    return train, dev, known_only(rows[day > last * 0.9], train)


def _chunks(users: np.ndarray) -> np.ndarray:
    """Impression ids from 1 for rows grouped by user: a new one for each user and after each _CHUNK rows of one."""
    first = np.append(True, users[1:] != users[:-1])[: len(users)]
    place = np.arange(len(users)) - np.flatnonzero(first)[np.cumsum(first) - 1]
    return np.cumsum(place % _CHUNK == 0)


def _meta(raw: Path, id_type: type) -> pd.DataFrame | None:
    """Genre and title numbers from movies.dat beside ratings.dat; None where there is none."""
    path = (raw.parent if os.path.isfile(raw) else raw) / "movies.dat"
    if not os.path.exists(path):
        return None
    lines = read_bytes(path).decode("latin-1").splitlines()
    parts = [line.split("::") for line in lines]
    bad = next((n for n, part in enumerate(parts, 1) if len(part) != 3 or not part[0].isdecimal()), None)
    if bad:
        raise UserError(f"{path} line {bad}: expected MovieID::Title::Genres, got {lines[bad - 1][:40]!r}")
    frame = pd.DataFrame(parts, columns=["item", "title", "genres"])
    codes = {name: np.unique(frame[name], return_inverse=True)[1] + 1 for name in ("genres", "title")}
    items = [id_type(item) for item in frame["item"]]
    return pd.DataFrame({"item": items, "i_genre_c": codes["genres"], "i_title_c": codes["title"]})
