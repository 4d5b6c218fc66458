"""RecBole's atomic files and LightGCN's adjacency lists into the Top-k format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ans_fast.data.files import read_bytes
from ans_fast.data.prepare.rules import N_NEGATIVES, leave_one_out
from ans_fast.data.prepare.write import write_set
from ans_fast.data.tables import Table, column_names
from ans_fast.errors import UserError

_RECBOLE_SPLITS = ("train", "valid", "test")
Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def convert(source: Path, target: Path, split: str, neg_items: bool | None, min_rating: float | None, seed: int) -> str:
    """Writes source's clicks as a Top-k set into the folder target; says what was read and how it was split.

    source: a .inter file, a folder with one or with RecBole's NAME.train.inter, .valid.inter and .test.inter, or one
    with train.txt and test.txt. split: "given" keeps the files' split, "leave_one_out" takes each user's last click
    for test and the one before for dev, "auto" is "given" where there is one. neg_items: whether
    dev and test get 99 unclicked items a row; None: after leave_one_out only. Raises UserError.
    """
    parts, kind = _read(source, min_rating)
    if split == "given" and len(parts) == 1:
        raise UserError(f"{source} has no split of its own; use --split leave_one_out")
    if len(parts) == 1 or split == "leave_one_out":
        rows = pd.concat(parts, ignore_index=True).drop_duplicates(["user", "item"])
        frames, how = leave_one_out(rows.sort_values("time", kind="stable")), "leave-one-out"
    elif len(parts) == 2:
        frames, how = _hold_out(*parts, seed), "its own split, a random train click a user as dev"
    else:
        frames, how = tuple(parts), "its own split"
    drawn = how == "leave-one-out" if neg_items is None else neg_items
    write_set(target, frames, [], negatives_seed=seed if drawn else None)
    return f"{kind}, {how}, " + (f"{N_NEGATIVES} neg_items a row" if drawn else "ranked over all items")


def _read(source: Path, min_rating: float | None) -> tuple[list[pd.DataFrame], str]:
    if source.is_file():
        return [_read_recbole(source, min_rating)], "RecBole"
    if (source / "train.txt").exists():
        if min_rating is not None:
            raise UserError("--min_rating needs ratings, which adjacency lists do not have")
        return [_read_adjacency(source / f"{name}.txt") for name in ("train", "test")], "adjacency lists"
    files = sorted(source.glob("*.inter"))
    given = [file for name in _RECBOLE_SPLITS for file in files if file.name.endswith(f".{name}.inter")]
    if len(files) == 3 and len(given) == 3:
        return [_read_recbole(file, min_rating) for file in given], "RecBole"
    if len(files) != 1:
        what = "no such file or folder" if not source.exists() else f"{len(files)} .inter files and no train.txt"
        raise UserError(f"{source}: {what}; expected a .inter file or a folder with train.txt and test.txt")
    return [_read_recbole(files[0], min_rating)], "RecBole"


def _read_recbole(path: Path, min_rating: float | None) -> pd.DataFrame:
    """user and item as text, time (the row's number where there is no timestamp)."""
    names = {name.split(":")[0]: name for name in column_names(path, "\t")}
    kinds = {"user_id": "text", "item_id": "text"}
    if "timestamp" in names:
        kinds["timestamp"] = "time"
    if min_rating is not None:
        kinds["rating"] = "time"
    table = Table(path, {names.get(name, name): kind for name, kind in kinds.items()})
    columns = {name: table[names[name]] for name in kinds}
    time = columns.get("timestamp", np.arange(len(table)))
    rows = pd.DataFrame({"user": columns["user_id"], "item": columns["item_id"], "time": time})
    if min_rating is None:
        return rows
    rows = rows[columns["rating"] >= min_rating]
    if rows.empty:
        raise UserError(f"{path} has no rating of at least {min_rating:g}")
    return rows


def _read_adjacency(path: Path) -> pd.DataFrame:
    """`user item item …` a line, ids from 0; time is the place in the line."""
    data = read_bytes(path)
    lines = data.splitlines()
    for number, line in enumerate(lines, 1):
        if not all(part.isdigit() and len(part) < 16 for part in line.split()):
            raise UserError(f"{path} line {number}: expected whole numbers, `user item item …`, got {line[:40]!r}")
    counts = np.array([len(line.split()) for line in lines])
    lengths = counts[counts > 0]
    values = np.array(data.split(), np.int64)
    starts = np.cumsum(lengths) - lengths
    place = np.arange(len(values)) - np.repeat(starts, lengths)
    user = np.repeat(values[starts], lengths)
    return pd.DataFrame({"user": user, "item": values, "time": place - 1})[place > 0]


def _hold_out(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Frames:
    """dev: one random train row of each user that has two or more."""
    shuffled = train.assign(key=np.random.default_rng(seed).random(len(train)))
    many = train.groupby("user").user.transform("size") > 1
    dev = train.index.isin(shuffled[many].groupby("user").key.idxmin())
    return train[~dev], train[dev], test
