"""Accidents of text files: drawn as (file, kind, where, what), applied to bytes. Places are shares of what is there, so
that each accident still means something without the others."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import NamedTuple

VALUES = (
    "", " ", "0", "-1", "1.5", "1e3", "1e400", "nan", "NaN", "NA", "null", "None", "n/a", "inf",
    "-inf", "True", "false",
    "²", "٣", "１", "1_0", "0x10", "+1", " 1", "1 ", "01", "1.0", '"', '""', '"1', "'", '"1"', "[1",
    "[]", "[[1]]", "[-1]",
    "[1, 1]", "[1e3]", "[1,]", "[1;2]", "[1 2]", "[99999999999999999999]", "100000000", "100000001", "2147483648",
    "9223372036854775807", "9223372036854775808", "99999999999999999999", "1e18", "1e300", "-1e18",
    "alice", "x" * 5000,
    "1" * 5000, "[" * 5000, "a\x0bb", "a\x1cb", "a\x85b", "\u2028", "\ufeff1", "\u202e1", "\x1b[31m", "=1+1", "💥",
)  # fmt: skip
BYTES = (
    b"\0", b"\xff", b"\xc3", b'"', b"\t", b"\n", b"\r", b"\r\n", b",", b"\xef\xbb\xbf", b"\x1a",
    b"\x7f", b"9", b"-", b"[", b"]",
)  # fmt: skip
SEPARATORS = (b",", b";", b" ", b"|", b"::", b"\t\t", b"")


class Accident(NamedTuple):
    """What happens to one file."""

    file: str
    kind: str
    where: float
    what: object

    def apply(self, folder: Path, sep: bytes) -> None:
        """Spoils the file, if it is still there."""
        path = folder / self.file
        if not path.is_file():
            return
        if self.kind == "remove":
            path.unlink()
        elif self.kind == "folder":
            path.unlink()
            path.mkdir()
        elif self.kind == "loop":
            path.unlink()
            os.symlink(path.name, path)
        else:
            path.write_bytes(_KINDS[self.kind](path.read_bytes(), self.where, self.what, sep))


def draw(rng: random.Random, files: list[str]) -> Accident:
    """One accident."""
    kind = rng.choice([*_KINDS, "remove", "folder", "loop"])
    what: object = None
    if kind in ("insert", "overwrite", "pad"):
        what = rng.choice(BYTES)
    elif kind in ("cell", "header", "column", "line"):
        what = (rng.random(), rng.choice(VALUES).encode())
    elif kind == "separator":
        what = rng.choice(SEPARATORS)
    elif kind == "encoding":
        what = rng.choice(["utf-8-sig", "utf-16", "utf-32", "latin-1"])
    elif kind == "breaks":
        what = rng.choice([b"\r\n", b"\r", b"\n\n", b"\x0b", b"\x85"])
    elif kind in ("swap", "delete", "repeat", "flip"):
        what = rng.random()
    elif kind in ("long", "many"):
        what = rng.choice([300, 40_000, 200_000])
    return Accident(rng.choice(files), kind, rng.random(), what)


def _at(length: int, share: float) -> int:
    return min(int(share * length), max(length - 1, 0))


def _bytes(change):
    """A kind that changes bytes at a place."""
    return lambda data, where, what, sep: change(data, _at(len(data), where), what)


def _lines(change):
    """A kind that changes the list of lines at one of them."""

    def apply(data: bytes, where: float, what: object, sep: bytes) -> bytes:
        lines = data.split(b"\n")
        return b"\n".join(change(lines, _at(len(lines) - 1, where), what, sep))

    return apply


def _set_cell(line: bytes, sep: bytes, share: float, value: bytes) -> bytes:
    cells = line.split(sep)
    cells[_at(len(cells), share)] = value
    return sep.join(cells)


def _column(lines, at, what, sep):
    return [_set_cell(line, sep, *what) if n and line else line for n, line in enumerate(lines)]


def _drop_column(lines, at, what, sep):
    gone = _at(len(lines[0].split(sep)), at / max(len(lines), 1))
    return [sep.join(cell for n, cell in enumerate(line.split(sep)) if n != gone) for line in lines]


def _flip(data: bytes, at: int, what: float) -> bytes:
    return data[:at] + bytes([b ^ 1 << int(what * 8) for b in data[at : at + 1]]) + data[at + 1 :]


_KINDS = {
    "flip": _bytes(_flip),
    "insert": _bytes(lambda data, at, what: data[:at] + what + data[at:]),
    "overwrite": _bytes(lambda data, at, what: data[:at] + what + data[at + 1 :]),
    "delete": _bytes(lambda data, at, what: data[:at] + data[at + 1 + int(what * 20) :]),
    "repeat": _bytes(lambda data, at, what: data[: at + int(what * 50)] + data[at:]),
    "cut": _bytes(lambda data, at, what: data[:at]),
    "pad": _bytes(lambda data, at, what: data + 1000 * what),
    "empty": _bytes(lambda data, at, what: b""),
    "blank": _bytes(lambda data, at, what: b"\n \n\n"),
    "mark alone": _bytes(lambda data, at, what: b"\xef\xbb\xbf"),
    "long": _bytes(lambda data, at, what: data[:at] + what * b"x" + data[at:]),
    "many": _lines(lambda lines, at, what, sep: [*lines[:at], lines[at] + what * (sep + b"1"), *lines[at + 1 :]]),
    "encoding": lambda data, where, what, sep: data.decode("latin-1").encode(what),
    "breaks": lambda data, where, what, sep: data.replace(b"\n", what),
    "separator": lambda data, where, what, sep: data.replace(sep, what),
    "header only": _lines(lambda lines, at, what, sep: lines[:1]),
    "no header": _lines(lambda lines, at, what, sep: lines[1:]),
    "cell": _lines(lambda lines, at, what, sep: [*lines[:at], _set_cell(lines[at], sep, *what), *lines[at + 1 :]]),
    "header": _lines(lambda lines, at, what, sep: [_set_cell(lines[0], sep, *what), *lines[1:]]),
    "column": _lines(_column),
    "line": _lines(lambda lines, at, what, sep: [*lines[:at], what[1], *lines[at:]]),
    "twice": _lines(lambda lines, at, what, sep: [*lines[:at], lines[at], *lines[at:]]),
    "drop": _lines(lambda lines, at, what, sep: lines[:at] + lines[at + 1 :]),
    "drop column": _lines(_drop_column),
    "twice the columns": _lines(lambda lines, at, what, sep: [line + sep + line for line in lines]),
    "quote": _lines(lambda lines, at, what, sep: [sep.join(b'"%s"' % c for c in line.split(sep)) for line in lines]),
    "swap": _lines(lambda lines, at, what, sep: [*lines[:at], sep.join(lines[at].split(sep)[::-1]), *lines[at + 1 :]]),
    "upside down": _lines(lambda lines, at, what, sep: [lines[0], *lines[:0:-1]]),
}
