"""An Amazon 5-core review file (JSON lines, perhaps .gz) and its meta file into the Top-k format."""

from __future__ import annotations

import ast
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ans_fast.data.prepare.rules import leave_one_out
from ans_fast.data.prepare.write import write_set
from ans_fast.errors import UserError, reason

_FIELDS = {"reviewerID": str, "asin": str, "unixReviewTime": int}


def prepare_amazon(name: str, raw: Path, target: Path, seed: int) -> None:
    """Every review is a click; by time, then user; each user's last two rows are dev and test, unless they are its
    first. neg_items are drawn with replacement, as published."""
    path = raw if raw.is_file() else _find(raw, [f"reviews_{name}_5.json", f"{name}_5.json"])
    if path is None:
        raise UserError(f"{raw} has neither reviews_{name}_5.json(.gz) nor {name}_5.json(.gz)")
    rows = pd.DataFrame(list(_read(path)), columns=["user", "item", "time"]).drop_duplicates()
    frames = leave_one_out(rows.sort_values(["time", "user"], kind="stable"))
    meta = _find(path.parent, [f"meta_{name}.json"])
    write_set(target, frames, [], seed, distinct=False, item_meta=_meta(meta, set(rows.item)) if meta else None)


def _find(folder: Path, names: list[str]) -> Path | None:
    paths = (folder / (name + ending) for name in names for ending in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def _lines(path: Path, parse: Callable[[str], Any]) -> Iterator[tuple[int, dict]]:
    """The numbered objects of a file with one a line."""
    number = 0
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    record = parse(line)
                    if not isinstance(record, dict):
                        raise ValueError
                    yield number, record
    except gzip.BadGzipFile:
        raise UserError(f"{path} is no gzip file, in spite of its name") from None
    except (EOFError, zlib.error):
        raise UserError(f"{path} ends early after line {number}; download it again") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} line {number + 1} is not UTF-8 text") from None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise UserError(f"{path} line {number}: expected one JSON object a line") from None


def _read(path: Path) -> Iterator[tuple]:
    found = False
    for number, record in _lines(path, json.loads):
        for field, kind in _FIELDS.items():
            if type(record.get(field)) is not kind:
                raise UserError(f"{path} line {number}: {field} is {record.get(field)!r}, expected {kind.__name__}")
        found = True
        yield tuple(record[field] for field in _FIELDS)
    if not found:
        raise UserError(f"{path} is empty")


def _meta(path: Path, items: set[str]) -> pd.DataFrame:
    """i_category (the third level of the first category path, 0 if none), r_complement (also bought) and r_substitute
    (also viewed), the latter as lists of old ids among items. The 2014 file has Python literals, not JSON."""
    rows = []
    for number, record in _lines(path, ast.literal_eval):
        asin, categories, related = record.get("asin"), record.get("categories"), record.get("related") or {}
        if asin in items:
            try:
                category = categories[0][2] if categories and len(categories[0]) > 2 else ""
                near = [
                    [i for i in dict.fromkeys(related.get(k, [])) if i in items] for k in ("also_bought", "also_viewed")
                ]
            except (TypeError, AttributeError, KeyError, IndexError):
                raise UserError(f"{path} line {number}: categories or related of {asin} is malformed") from None
            rows.append((asin, str(category), *near))
    frame = pd.DataFrame(rows, columns=["item", "i_category", "r_complement", "r_substitute"]).drop_duplicates("item")
    names = sorted(set(frame.i_category) - {""})
    numbers = {"": 0, **dict(zip(names, range(1, len(names) + 1), strict=True))}
    frame["i_category"] = frame.i_category.map(numbers)
    new_ids = dict(zip(sorted(items), range(1, len(items) + 1), strict=True))
    for column in ("r_complement", "r_substitute"):
        frame[column] = [[new_ids[item] for item in cell] for cell in frame[column]]
    return frame
