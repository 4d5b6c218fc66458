"""Tables of clicks that are downloaded as they were published: which file of a download they are, and how it reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ans_fast.data.own_table import Columns, clicks_of, read_own
from ans_fast.data.prepare.amazon import read_reviews
from ans_fast.data.prepare.json_lines import read_records
from ans_fast.data.prepare.movielens import read_ratings
from ans_fast.data.prepare.plain import PlainTable
from ans_fast.data.prepare.sources import Source
from ans_fast.data.raw_files import find, unpacked_name
from ans_fast.errors import UserError


@dataclass(frozen=True)
class _Original:
    """kind: what the clicks are, in words. file: its name, perhaps with .gz. rated: whether clicks have ratings."""

    kind: str
    file: str
    read: Callable[..., pd.DataFrame]
    rated: bool = True


def _read_yelp(path: Path, min_rating: float | None = None) -> pd.DataFrame:
    kinds = {"user_id": str, "business_id": str, "date": str, "stars": float}
    return read_records(path, Columns.rated("user_id", "business_id", "date", "stars", min_rating), kinds)


def _read_gowalla(path: Path) -> pd.DataFrame:
    return PlainTable(path).clicks(Columns("user", "item", "time"), {"user": 0, "time": 1, "item": 4}, header=False)


def _read_lastfm(path: Path, item: str) -> pd.DataFrame:
    rows = read_own(path, Columns("userID", item, "timestamp"), "\t")
    return rows.assign(time=rows.time / 1000)  # milliseconds


def _read_movielens(path: Path, min_rating: float | None = None) -> pd.DataFrame:
    columns = Columns.rated("user", "item", "time", "rating", min_rating)
    return clicks_of(read_ratings(path), columns, str(path), lambda _, message: UserError(f"{path}: {message}"))


def _read_ratings(path: Path, min_rating: float | None = None) -> pd.DataFrame:
    """Amazon's ratings without reviews: those of 2014 begin with the user, those of 2018 with the item."""
    user = 0 if path.name.startswith("ratings_") else 1
    places = {"user": user, "item": 1 - user, "rating": 2, "time": 3}
    columns = Columns.rated("user", "item", "time", "rating", min_rating)
    return PlainTable(path, sep=",").clicks(columns, places, header=False)


_TAGS = ("Last.fm's tags of artists", "user_taggedartists-timestamps.dat")
ORIGINALS = {
    "Gowalla": _Original("Gowalla's check-ins", "loc-gowalla_totalCheckins.txt", _read_gowalla, rated=False),
    "LastFM": _Original(*_TAGS, lambda path: _read_lastfm(path, "artistID"), rated=False),
    "LastFM_tags": _Original(*_TAGS, lambda path: _read_lastfm(path, "tagID"), rated=False),
    "ML_1M": _Original("MovieLens-1M's ratings", "ratings.dat", _read_movielens),
    "Yelp": _Original("Yelp's reviews", "yelp_academic_dataset_review.json", _read_yelp),
}


def find_original(name: str, raw: Path) -> Source:
    """The clicks of ORIGINALS's `name`, or of Amazon's category of that name: the file raw, or one in that folder.
    Raises UserError."""
    own = ORIGINALS.get(name)
    files = [own.file] if own else [f"reviews_{name}_5.json", f"{name}_5.json", f"reviews_{name}.json"]
    files += [] if own else [f"{name}.json", f"ratings_{name}.csv", f"{name}.csv"]
    path = raw if os.path.isfile(raw) else find(raw, files)
    if path is None:
        raise UserError(f"{raw} has none of {', '.join(files)}, nor a .gz of it")
    if own:
        return Source(own.kind, own.read, (path,), rated=own.rated)
    if unpacked_name(path).endswith(".csv"):
        return Source("Amazon's ratings", _read_ratings, (path,))
    return Source("Amazon's reviews", read_reviews, (path,))
