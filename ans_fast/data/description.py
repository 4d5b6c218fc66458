"""description.json: what a data set's folder says of itself, which its three CSV files cannot tell."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from ans_fast.data.raw_files import DESCRIPTION_FILE, read_bytes
from ans_fast.errors import UserError

_VALID = {  # by type, as dataclasses give it with annotations that stay text
    "str": (lambda value: isinstance(value, str) and value.isprintable(), "a line of text"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "int": (lambda value: type(value) is int and value >= 0, "a whole number"),
    "int | None": (lambda value: value is None or (type(value) is int and value >= 0), "a whole number or null"),
}
RANKS = ("user", "row")


@dataclass(frozen=True)
class Description:
    """Where a set's rows come from and how they are meant to be used. The defaults hold for a folder without the file.

    source: what was read. split: how it was split into train, dev and test. seed: of the random draws, None where
    there were none. times: whether the time column is the source's, not made up from an order. rank: what is ranked
    once in an evaluation, each "row" of dev and test with its one item to find, as ReChorus does, or each "user" with
    the set of all of its items in the split. dropped_duplicates: rows left out because their user had the item already.
    own_ids: whether predictions are written with the source's ids, which the id tables hold.
    """

    source: str = "not described"
    split: str = "as given"
    seed: int | None = None
    times: bool = True
    rank: str = "row"
    dropped_duplicates: int = 0
    own_ids: bool = False

    def told(self) -> list[str]:
        """Lines for who has just made the set."""
        lines = [f"source: {self.source}", f"split: {self.split}"]
        if not self.times:
            lines.append("times: none; made up so that train comes before dev, dev before test")
        if self.dropped_duplicates:
            lines.append(f"repeated clicks: {self.dropped_duplicates:,} dropped, the earliest counts")
        return lines


def told_time(time: float) -> str:
    """A time as a date where it is likely one, in seconds since 1970."""
    return f"{np.datetime64(int(time), 's')}Z" if 1e8 < time < 1e11 else f"{time:g}"


def read_description(folder: Path) -> Description:
    """The description in the data set's folder, the defaults where there is none. Raises UserError."""
    path = folder / DESCRIPTION_FILE
    if not os.path.exists(path):
        return Description()
    try:
        values = json.loads(read_bytes(path))
    except UserError:
        raise
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise UserError(f"{path} is malformed: expected one JSON object")
    types = {field.name: field.type for field in fields(Description)}
    for name, value in values.items():
        if name not in types:
            raise UserError(f"{path} has a field {name[:40]!r}, expected {', '.join(types)}")
        valid, expected = _VALID[types[name]]
        if name == "rank":
            valid, expected = RANKS.__contains__, " or ".join(RANKS)
        if not valid(value):
            raise UserError(f"{path}: {name} is {repr(value)[:40]}, expected {expected}")
    return Description(**values)


def write_description(folder: Path, description: Description) -> None:
    """Writes the file into the folder, which exists."""
    (folder / DESCRIPTION_FILE).write_text(json.dumps(asdict(description), indent=2) + "\n")
