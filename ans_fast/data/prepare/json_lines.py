"""Files of one JSON object a line, perhaps .gz, as Amazon's and Yelp's reviews come."""

from __future__ import annotations

import ast
import gzip
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ans_fast.data.own_table import Columns, clicks_of
from ans_fast.data.raw_files import GZIP, readable
from ans_fast.errors import UserError

_EXPECTED = {str: "text", int: "a whole number", float: "a number"}


def records(path: Path) -> Iterator[tuple[int, dict]]:
    """The objects and their lines, from 1; those of Python's literals too, as in Amazon's meta files of 2014. Raises
    UserError."""
    number = 0
    try:
        with readable(path), (gzip.open if path.suffix == GZIP else open)(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    record = _parse(line)
                    if not isinstance(record, dict):
                        raise ValueError
                    yield number, record
    except UserError:
        raise
    except UnicodeDecodeError:
        raise UserError(f"{path} line {number + 1} is not UTF-8 text") from None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise UserError(f"{path} line {number}: expected one object a line, as JSON") from None


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return ast.literal_eval(line.strip())


def read_records(path: Path, columns: Columns, kinds: Mapping[str, type]) -> pd.DataFrame:
    """The clicks of the objects' fields that the columns name, as `clicks_of` gives them. Raises UserError, which names
    the line, also for a value that is not of the field's kind: str, int, or float, which may be written as an int."""
    lines, rows = [], []
    for line, record in records(path):
        for name in columns.names:
            value, kind = record.get(name), kinds[name]
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise UserError(f"{path} line {line}: {name} is {value!r:.60}, expected {_EXPECTED[kind]}")
        values = (record[name] for name in columns.names)
        rows.append([sys.intern(value) if isinstance(value, str) else value for value in values])  # ids come often
        lines.append(line)
    if not rows:
        raise UserError(f"{path} is empty")
    frame = pd.DataFrame(rows, columns=columns.names)
    return clicks_of(frame, columns, str(path), lambda row, message: UserError(f"{path} line {lines[row]}: {message}"))
