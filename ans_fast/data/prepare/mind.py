"""MIND's behaviors.tsv (and news.tsv) into impressions (MIND) and Top-k (MINDTOPK)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from ans_fast.data.description import Description
from ans_fast.data.prepare.plain import PlainTable
from ans_fast.data.prepare.rules import Frames, add_time_context, k_core, known_only
from ans_fast.data.prepare.write import write_set
from ans_fast.errors import UserError

_CONTEXT = ("c_hour_c", "c_weekday_c", "c_period_c", "c_day_f")
_LAST_TRAIN_DAY = 5  # days from the first date
_SPLIT = f"by time: {_LAST_TRAIN_DAY + 1} days for train, of the later impressions the first half for dev"
_TIME_FORMAT = "%m/%d/%Y %I:%M:%S %p"
_SEPARATE = bytes.maketrans(b"N-\n", b"   ")


def prepare_ctr(raw: Path, target: Path) -> None:
    """Every shown item with its label, by user and time; impression_id numbers the files' lines."""
    rows = _read(raw).sort_values(["user", "time"], kind="stable")
    columns = ("label", *_CONTEXT, "impression_id")
    write_set(target, _split(rows), Description("MIND", _SPLIT), columns, item_meta=_meta(raw))


def prepare_topk(raw: Path, target: Path, seed: int) -> None:
    """The clicks alone."""
    rows = _read(raw)
    description = Description("MIND, the clicks", _SPLIT, seed)
    write_set(target, _split(rows[rows.label == 1]), description, _CONTEXT, neg_items=True, item_meta=_meta(raw))


def _files(raw: Path, name: str) -> list[Path]:
    """raw's own file and those of its folders, train before dev."""
    return sorted([*raw.glob(name), *raw.glob(f"*/{name}")], key=lambda path: ("train" not in path.parent.name, path))


def _read(raw: Path) -> pd.DataFrame:
    paths = _files(raw, "behaviors.tsv")
    if not paths:
        raise UserError(f"{raw} has no behaviors.tsv, nor has a folder in it; unpack MIND's train and dev sets there")
    rows = k_core(pd.concat([_read_behaviors(path) for path in paths], ignore_index=True))
    rows["impression_id"] = (rows.impression_id.diff() != 0).cumsum()
    return add_time_context(rows, utc_offset=0)


def _read_behaviors(path: Path) -> pd.DataFrame:
    """One row a shown item: user, time (s, the file's clock read as UTC), item (text), label, impression_id."""
    table = PlainTable(path)
    lines = table.text({"user": 1, "time": 2, "shown": 4}, header=False)
    times = pd.to_datetime(lines.time, format=_TIME_FORMAT, errors="coerce")
    shown = lines.shown.str.strip()
    good = shown.str.fullmatch(r"N\d{1,15}-[01]( +N\d{1,15}-[01])*", flags=re.ASCII).to_numpy(bool)
    for ok, column, expected in (
        (times.notna().to_numpy(), "time", "MM/DD/YYYY HH:MM:SS AM"),
        (good, "impressions", "items such as N123-0 N45-1, the labels included (the test set has none)"),
    ):
        if not ok.all():
            raise table.error(int(ok.argmin()), f"malformed {column}, expected {expected}")
    text = ("\n".join(shown) + "\n").encode()
    numbers = np.fromstring(text.translate(_SEPARATE), np.int64, sep=" ").reshape(-1, 2)
    line = np.repeat(np.arange(len(lines)), shown.str.count("N").to_numpy())
    seconds = times.to_numpy().astype("datetime64[s]").astype(np.int64)
    return pd.DataFrame(
        {
            "user": pd.Categorical(lines.user).take(line),
            "item": pd.Categorical("N" + pd.Series(numbers[:, 0]).astype(str)),
            "time": seconds[line],
            "label": numbers[:, 1],
            "impression_id": line,
        }
    ).astype({"user": object, "item": object})


def _split(rows: pd.DataFrame) -> Frames:
    """Train: the first days; of the later impressions in time the first half is dev, the second test."""
    train, later = rows[rows.c_day_f <= _LAST_TRAIN_DAY], rows[rows.c_day_f > _LAST_TRAIN_DAY]
    if later.empty:
        raise UserError(
            f"no impression comes more than {_LAST_TRAIN_DAY} days after the first; give train and dev sets"
        )
    later = later.sort_values("time", kind="stable")
    impressions = later.impression_id.unique()
    is_dev = later.impression_id.isin(impressions[: len(impressions) // 2])
    return train, known_only(later[is_dev], train), known_only(later[~is_dev], train)


def _meta(raw: Path) -> pd.DataFrame | None:
    paths = _files(raw, "news.tsv")
    if not paths:
        return None
    columns = {"item": 0, "category": 1, "subcategory": 2}
    news = pd.concat([PlainTable(path).text(columns, header=False) for path in paths])
    news = news.drop_duplicates("item")
    codes = {name: np.unique(news[name], return_inverse=True)[1] + 1 for name in ("category", "subcategory")}
    return pd.DataFrame(
        {"item": news["item"], "i_category_c": codes["category"], "i_subcategory_c": codes["subcategory"]}
    )
