"""Strict reading of one CSV file by pandas' C parser. Every fault is one line that names file, line and column."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from ans_fast.data.lists import MalformedList, parse_lists
from ans_fast.data.raw_files import MAX_ID, MAX_TIME, line_of, line_of_row, malformed, read_bytes
from ans_fast.errors import UserError, shown
from ans_fast.flag_types import separator

_SEPARATORS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a bar", " ": "a blank"}
_TRUTHS = (b"rue", b"RUE", b"alse", b"ALSE")  # in all spellings that pandas takes for the numbers 1 and 0
_PANDAS_TYPES = {"id": np.int64, "time": np.float64, "label": np.float64}
_EXPECTED = {
    "id": f"a whole number from 1 to {MAX_ID:,}",
    "time": f"a number from {-MAX_TIME:g} to {MAX_TIME:g}",
    "label": "0 or 1",
    "list": "a list of ids such as [3, 17, 5]",
    "any": "a value",
    "text": "a value",
}


def column_names(path: Path, sep: str) -> list[str]:
    """The names in the file's first line. Raises UserError."""
    return _header(path, _text(path, read_bytes(path)), separator.taken("sep", separator.read(sep)))


class Table:
    """One CSV file with the columns that were asked for.

    columns maps a name to its kind: "id" (int64, 1 … MAX_ID), "time" (float64, -MAX_TIME … MAX_TIME), "label" (float64,
    0 or 1), "list" (as lists()), "text", "any" (as pandas infers it), neither missing. Columns in `optional` may be
    missing, as `name in table` tells. Only an empty cell is missing: `NA` and `null` are text. Blank lines are skipped.
    Raises UserError.
    """

    def __init__(self, path: Path, columns: dict[str, str], sep: str = "\t", optional: tuple[str, ...] = ()) -> None:
        self.path, self.sep, self.kinds = path, separator.taken("sep", separator.read(sep)), columns
        self._data = _text(path, read_bytes(path))
        self.names = _header(path, self._data, self.sep)
        self._check_columns([name for name in columns if name not in optional])
        self._frame = self._read()

    def __len__(self) -> int:
        return len(self._frame)

    def __contains__(self, name: str) -> bool:
        return name in self._frame

    def __getitem__(self, name: str) -> np.ndarray:
        """The column's values [R]."""
        return self._frame[name].to_numpy()

    def lists(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column of lists as CSR: indptr int64 [R + 1], ids int64 [indptr[-1]], each 1 … MAX_ID."""
        try:
            indptr, ids = parse_lists(self._frame[name].fillna("").tolist())
        except MalformedList as error:
            raise self.bad_cell(name, error.row) from None
        wrong = (ids < 1) | (ids > MAX_ID)
        if wrong.any():
            at = int(wrong.argmax())
            row = int(np.searchsorted(indptr, at, side="right")) - 1
            raise self.error(row, f"{name} holds {ids[at]}, expected ids from 1 to {MAX_ID:,}")
        return indptr, ids

    def error(self, row: int, message: str) -> UserError:
        """A UserError that names the file and the line of data row `row`."""
        return UserError(f"{self.path} line {line_of_row(self._data, row + 1)}: {message}")

    def bad_cell(self, name: str, row: int) -> UserError:
        """The error for a value that is not of its column's kind."""
        value = self._frame[name].iloc[row]
        said = "is missing" if pd.isna(value) or value == "" else f"is {shown_cell(value)}"
        return self.error(row, f"{name} {said}, expected {_EXPECTED[self.kinds[name]]}")

    def _check_columns(self, wanted: list[str]) -> None:
        missing = [name for name in wanted if name not in self.names]
        if not missing:
            return
        line = _first_line(self._data)
        for other, called in _SEPARATORS.items():
            if other != self.sep and set(wanted) <= set(line.replace('"', "").split(other)):
                raise UserError(
                    f"{self.path} has {_counted(self.names)}; is the separator {called}? try --sep {other!r}"
                )
        close = difflib.get_close_matches(missing[0], self.names, n=1)
        raise UserError(
            f"{self.path} has no column {missing[0]!r}, but {_counted(self.names)}; "
            + (f"rename {close[0]!r} to it" if close else "its first line must name the columns")
        )

    def _read(self) -> pd.DataFrame:
        used = [name for name in self.names if name in self.kinds]
        types = {name: _PANDAS_TYPES.get(self.kinds[name], str) for name in used if self.kinds[name] != "any"}
        as_text = types | {name: str for name in types if self.kinds[name] in _PANDAS_TYPES}
        try:
            frame = self._parse(used, as_text if self._has_truths() else types)
        except (ValueError, OverflowError):  # a cell that is no number: find it in the text
            frame = self._parse(used, as_text)
        self._frame = frame
        for name in used:
            if self.kinds[name] in _PANDAS_TYPES:
                frame[name] = self._checked(name)
            elif self.kinds[name] in ("any", "text") and frame[name].isna().any():
                raise self.bad_cell(name, int(frame[name].isna().argmax()))
        return frame

    def _has_truths(self) -> bool:
        """Whether a word of _TRUTHS stands below the first line. Numbers lack even their first letters, which are
        looked for in a tenth of the time."""
        below = self._data.find(b"\n") + 1
        return any(self._data.find(word[:1], below) >= 0 and self._data.find(word, below) >= 0 for word in _TRUTHS)

    def _parse(self, used: list[str], types: dict[str, type]) -> pd.DataFrame:
        quoted = b'"' in self._data
        if not quoted:  # pandas does not check the number of values where it skips columns
            self._check_widths()
        try:
            columns = None if quoted else used
            with np.errstate(invalid="ignore"):  # a float too large for an id: the ValueError is enough
                frame = pd.read_csv(
                    io.BytesIO(self._data),
                    sep=self.sep,
                    usecols=columns,
                    dtype=types,
                    low_memory=False,
                    keep_default_na=False,
                    na_values=[""],
                )
        except pd.errors.ParserError as error:
            raise malformed(self.path, error) from None
        if not isinstance(frame.index, pd.RangeIndex):
            raise UserError(f"{self.path} line 2 has more values than line 1 has columns ({len(self.names)})")
        if frame.empty:
            raise UserError(f"{self.path} is empty below its first line")
        if quoted and len(frame) != sum(1 for line in self._data.splitlines() if line.strip(b" ")) - 1:
            raise UserError(f"{self.path} is malformed: a quoted value runs over several lines")
        return frame[used]

    def _check_widths(self) -> None:
        """UserError for the first line that has not as many values as there are columns."""
        data = np.frombuffer(self._data, np.uint8)
        ends = np.append(np.flatnonzero(data == ord("\n")), len(data))
        before = np.searchsorted(np.flatnonzero(data == ord(self.sep)), ends)
        plain = self._data.count(b"\r") == self._data.count(b"\r\n")
        if plain and np.all(np.diff(before, prepend=0) == len(self.names) - 1):
            return
        for number, line in enumerate(self._data.splitlines(), 1):
            values = line.count(self.sep.encode()) + 1
            if values != len(self.names) and line.strip(b" "):
                raise UserError(f"{self.path} line {number} has {values} values, line 1 has {len(self.names)} columns")

    def _checked(self, name: str) -> np.ndarray:
        """The column as numbers of its kind; UserError for the first cell that is none."""
        kind = self.kinds[name]
        values = self._frame[name]
        if values.dtype != _PANDAS_TYPES[kind]:
            values = pd.to_numeric(values, errors="coerce")
        values = values.to_numpy(dtype=None if values.dtype == np.int64 else np.float64)
        if kind == "id":
            good = (values >= 1) & (values <= MAX_ID) & (values == np.floor(values))
        elif kind == "label":
            good = (values == 0) | (values == 1)
        else:
            good = np.abs(values) <= MAX_TIME
        if not good.all():
            raise self.bad_cell(name, int(good.argmin()))
        return values.astype(_PANDAS_TYPES[kind], copy=False)


def _text(path: Path, data: bytes) -> bytes:
    """data without its last line breaks, checked to be UTF-8 text."""
    data = data.rstrip(b"\r\n")
    nul = data.find(b"\0")
    if nul >= 0:
        raise UserError(f"{path} line {line_of(data, nul)}: a zero byte; expected UTF-8 text, not binary or UTF-16")
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} line {line_of(data, error.start)}: byte 0x{data[error.start]:02x} is not UTF-8; "
                "save the file as UTF-8 (iconv -f LATIN1 -t UTF-8)"
            ) from None
    return data


def _first_line(data: bytes) -> str:
    """The first line that is not blank."""
    at = re.search(rb"[^ \r\n]", data).start()
    start = max(data.rfind(b"\n", 0, at), data.rfind(b"\r", 0, at)) + 1
    return re.compile(rb"[^\r\n]*").match(data, start).group().decode()


def _header(path: Path, data: bytes, sep: str) -> list[str]:
    try:
        names = next(csv.reader([_first_line(data)], delimiter=sep))
    except csv.Error as error:  # a name longer than csv's limit
        raise UserError(f"{path} must name its columns in its first line: {error}") from None
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise UserError(f"{path} has two columns {shown(twice)}; keep one")
    return names


def shown_cell(value: object) -> str:
    """A cell as an error has it: NumPy's numbers as Python's."""
    return shown(value.item() if isinstance(value, np.generic) else value)


def _counted(names: list[str]) -> str:
    return f"one column {shown(names[0])}" if len(names) == 1 else f"the columns {shown(', '.join(names))}"
