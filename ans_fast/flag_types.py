"""Types of options: argparse calls one to read a flag's text, and `check` looks at a value that came from Python.

A type holds its bounds, so that both ways refuse the same values in the same words: sizes that would overflow, numbers
that float32 does not hold, digits of other scripts, control characters.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import math
import numbers
import os
import re
import shlex
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

from ans_fast.errors import UserError, shown


class OptionType:
    """The values that an option takes. A subclass gives `expected`, `read` and `accepts`.

    expected: such as "an integer from 0 to 9". read: the value that a text says; ValueError if it says none.
    accepts: whether a value is one of these.
    """

    expected: str

    def read(self, text: str) -> Any:
        return text

    def accepts(self, value: Any) -> bool:
        raise NotImplementedError

    def __call__(self, text: str) -> Any:
        """The flag's value. Raises ArgumentTypeError."""
        try:
            value = self.read(text)
        except ValueError:
            value = None
        if value is None or not self.accepts(value):
            raise argparse.ArgumentTypeError(f"expected {self.expected}, got {shown(text)}")
        return value

    def plain(self, value: Any) -> Any:
        """An accepted value as Python's own: NumPy's numbers are none in files."""
        return value

    def taken(self, name: str, value: Any) -> Any:
        """The option's plain value. Raises UserError, which names it, for a value that is none of these."""
        if not self.accepts(value):
            raise UserError(f"{name} must be {self.expected}, got {shown(value)}")
        return self.plain(value)


@dataclass(frozen=True)
class Integer(OptionType):
    """An integer from `least` to `most`."""

    least: int
    most: int

    @property
    def expected(self) -> str:
        return f"an integer from {self.least} to {self.most}" if self.most > 1 else "0 or 1"

    def read(self, text: str) -> int:
        if not re.fullmatch("[+-]?[0-9]{1,40}", text):  # int() takes 1_000, spaces and all scripts' digits
            raise ValueError
        return int(text)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, numbers.Integral) and self.least <= value <= self.most

    def plain(self, value: Any) -> int:
        return int(value)


@dataclass(frozen=True)
class Number(OptionType):
    """A number from `least` to `most`."""

    least: float
    most: float

    @property
    def expected(self) -> str:
        return f"a number from {self.least:g} to {self.most:g}"

    def read(self, text: str) -> float:
        if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
            raise ValueError
        return float(text)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, numbers.Real) and math.isfinite(value) and self.least <= value <= self.most

    def plain(self, value: Any) -> int | float:
        return int(value) if isinstance(value, numbers.Integral) else float(value)


@dataclass(frozen=True)
class Choice(OptionType):
    """One of `choices`, written as they are."""

    choices: tuple[str, ...]

    @property
    def expected(self) -> str:
        return f"one of {', '.join(self.choices)}"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.choices


@dataclass(frozen=True)
class Name(OptionType):
    """One of `choices`, which are upper-case; a flag may say it in lower case."""

    choices: tuple[str, ...]

    @property
    def expected(self) -> str:
        return f"one of {', '.join(self.choices)}"

    def read(self, text: str) -> str:
        return text.upper()

    def accepts(self, value: Any) -> bool:
        return value in self.choices

    def __call__(self, text: str) -> str:
        try:
            return super().__call__(text)
        except argparse.ArgumentTypeError as error:
            close = difflib.get_close_matches(text[:20].upper(), self.choices, n=1, cutoff=0.3)
            raise argparse.ArgumentTypeError(f"{error}; did you mean {close[0]}?" if close else str(error)) from None


@dataclass(frozen=True)
class List(OptionType):
    """One to `most` values of type `each`; in a flag they stand between commas, in brackets or not."""

    each: OptionType
    most: int = 1000

    @property
    def expected(self) -> str:
        return f"1 to {self.most} values, each {self.each.expected}"

    def __call__(self, text: str) -> list[Any]:
        inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        parts = [part.strip(" ") for part in inner.split(",")]
        if len(parts) > self.most:
            raise argparse.ArgumentTypeError(f"expected {self.expected}, got {len(parts)} of them")
        return [self.each(part) for part in parts]

    def accepts(self, value: Any) -> bool:
        return isinstance(value, list | tuple) and 1 <= len(value) <= self.most and all(map(self.each.accepts, value))

    def plain(self, value: Any) -> list[Any]:
        return [self.each.plain(part) for part in value]


@dataclass(frozen=True)
class Text(OptionType):
    """Text that `pattern` matches, without control characters, which would forge lines of logs and tables."""

    pattern: str = ".*"
    expected: str = "text without control characters"

    def accepts(self, value: Any) -> bool:
        plain = isinstance(value, str) and all(c.isprintable() or c in OTHER_SPACES for c in value)
        return plain and re.fullmatch(self.pattern, value) is not None


@dataclass(frozen=True)
class FileName(Text):
    """Text that can be a file's name or path; parts of paths have at most 255 bytes in all common file systems."""

    expected: str = "a path without control characters and with at most 255 bytes between slashes"

    def accepts(self, value: Any) -> bool:
        return super().accepts(value) and max(map(len, os.fsencode(value).split(b"/"))) <= 255 and len(value) <= 1000


class FilePath(FileName):
    """The same, read as a Path."""

    def __call__(self, text: str) -> Path:
        return Path(super().__call__(text))


class Separator(OptionType):
    r"""One ASCII character; a flag may say \t for a tab."""

    expected = r"one ASCII character such as ',' or '\t'"

    def read(self, text: str) -> str:
        return "\t" if text == r"\t" else text

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and len(value) == 1 and value.isascii() and value not in '\0"\n\r'


class Moment(OptionType):
    """A number as it is, or a date as its seconds since 1970, in UTC unless it says otherwise."""

    expected = "a date such as 2014-04-01, or a number"

    def read(self, text: str) -> float:
        with contextlib.suppress(ValueError):
            return number.read(text)
        return _seconds(datetime.fromisoformat(text))

    def accepts(self, value: Any) -> bool:
        with contextlib.suppress(ValueError, OverflowError):
            return number.accepts(self.plain(value))
        return False

    def plain(self, value: Any) -> float:
        if isinstance(value, str):
            return float(self.read(value))
        if isinstance(value, date):
            return _seconds(value if isinstance(value, datetime) else datetime(value.year, value.month, value.day))
        return float(value) if isinstance(value, numbers.Real) else math.nan


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


class Words(OptionType):
    """Words as a shell splits them; quotes keep spaces."""

    expected = "words whose quotes are closed"

    def read(self, text: str) -> list[str]:
        return shlex.split(text)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, list)


OTHER_SPACES = "\u00a0\u3000"  # a no-break and an ideographic one: not called printable, and in file names all the same

natural = Integer(0, 2**31 - 1)
positive_int = Integer(1, 2**31 - 1)
seed = Integer(0, 2**63 - 1)
switch = Integer(0, 1)
layers = Integer(0, 1000)
size = Integer(1, 4096)  # of a vector or a hidden layer: the square of it, in floats, fits any machine
draws = Integer(1, 2**16)
non_negative = Number(0, 1e38)  # as far as float32 goes
share = Number(0, 1)
number = Number(-1e38, 1e38)
text = Text()
file_name = FileName()
path = FilePath()
separator = Separator()
moment = Moment()
words = Words()
