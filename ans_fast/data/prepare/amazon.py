"""Amazon's reviews: a 5-core review file and its meta file into the Top-k format, by ReChorus's rule."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd

from ans_fast.data.description import Description
from ans_fast.data.own_table import Columns
from ans_fast.data.prepare.json_lines import read_records, records
from ans_fast.data.prepare.rules import leave_one_out
from ans_fast.data.prepare.write import write_set
from ans_fast.data.raw_files import find
from ans_fast.errors import UserError

_KINDS = {"reviewerID": str, "asin": str, "unixReviewTime": int, "overall": float}


def prepare_amazon(name: str, raw: Path, target: Path, seed: int) -> None:
    """Every review is a click, one of the same user, item and time once; by time, then user; each user's last two rows
    are dev and test, unless they are its first. The files of 2014 and of 2018 are read alike. Raises UserError."""
    path = raw if os.path.isfile(raw) else find(raw, [f"reviews_{name}_5.json", f"{name}_5.json"])
    if path is None:
        raise UserError(f"{raw} has neither reviews_{name}_5.json(.gz) nor {name}_5.json(.gz)")
    reviews = read_reviews(path)
    rows = reviews.drop_duplicates()
    frames = leave_one_out(rows.sort_values(["time", "user"], kind="stable"))
    meta = find(path.parent, [f"meta_{name}.json"])
    description = Description(
        source=f"Amazon reviews, {name}",
        split="leave-one-out: a user's last click by time for test, the one before for dev",
        seed=seed,
        dropped_duplicates=len(reviews) - len(rows),
    )
    item_meta = _meta(meta, set(rows.item)) if meta else None
    write_set(target, frames, description, neg_items=True, item_meta=item_meta)


def read_reviews(path: Path, min_rating: float | None = None) -> pd.DataFrame:
    """user, item and time of the reviews, an object a line, perhaps .gz; those rated min_rating or more. UserError."""
    return read_records(path, Columns.rated("reviewerID", "asin", "unixReviewTime", "overall", min_rating), _KINDS)


def _meta(path: Path, items: set[str]) -> pd.DataFrame:
    """i_category (the third level of the first category path, 0 if none), r_complement (also bought) and r_substitute
    (also viewed), the latter as lists of old ids among items."""
    rows = []
    for number, record in records(path):
        asin = record.get("asin")
        if isinstance(asin, str) and asin in items:
            try:
                category, bought, viewed = _features(record)
            except (TypeError, AttributeError):
                raise UserError(f"{path} line {number}: categories or related items of {asin} are malformed") from None
            rows.append(
                (asin, category, *([i for i in dict.fromkeys(near) if i in items] for near in (bought, viewed)))
            )
    frame = pd.DataFrame(rows, columns=["item", "i_category", "r_complement", "r_substitute"]).drop_duplicates("item")
    names = sorted(set(frame.i_category) - {""})
    numbers = {"": 0, **dict(zip(names, range(1, len(names) + 1), strict=True))}
    frame["i_category"] = frame.i_category.map(numbers)
    new_ids = dict(zip(sorted(items), range(1, len(items) + 1), strict=True))
    for column in ("r_complement", "r_substitute"):
        frame[column] = [[new_ids[item] for item in cell] for cell in frame[column]]
    return frame


def _features(record: dict) -> tuple[str, list[str], list[str]]:
    """The third level of the first category path ("" if none), items also bought, and viewed, of either year's record:
    2014 has categories, a list of paths, and related; 2018 category, one path, also_buy and also_view."""
    paths = record.get("categories") or [record.get("category")]
    related = record.get("related") or {}
    path, bought, viewed = map(
        _names,
        (
            paths[0] if isinstance(paths, list) else paths,
            related.get("also_bought") or record.get("also_buy"),
            related.get("also_viewed") or record.get("also_view"),
        ),
    )
    return path[2] if len(path) > 2 else "", bought, viewed


def _names(value: Any) -> list[str]:
    """A list of names, empty for null; TypeError for anything else."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError
    return value
