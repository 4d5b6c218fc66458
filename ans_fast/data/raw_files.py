"""The files of a data set as bytes: names, the largest numbers they hold, reading with readable errors, fingerprint."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ans_fast.errors import UserError, reason

SPLIT_FILES = ("train.csv", "dev.csv", "test.csv")
LIST_FILES = ("train.txt", "test.txt")  # of LightGCN
META_FILE = "item_meta.csv"  # this one and the next ones may be missing
DESCRIPTION_FILE = "description.json"
ID_FILES = ("user2newid.json", "item2newid.json")
MAX_ID = 100_000_000  # every table has a row an id, so ids must be compact
MAX_TIME = 4e18  # nanoseconds of this century: sums, differences and integers of times stay exact enough and finite
GZIP = ".gz"
_PACKED = {  # by its first bytes
    b"PK\3\4": "a zip archive; unpack it",
    b"\x1f\x8b": f"packed by gzip; unpack it, or let its name end in {GZIP}",
}


def read_bytes(path: Path) -> bytes:
    """The whole file, unpacked if it is a .gz, without a byte-order mark; UserError where it is missing, a directory,
    unreadable or empty."""
    data = _contents(path)
    if path.suffix == GZIP:
        with readable(path):
            data = gzip.decompress(data)
    for start, what in _PACKED.items():
        if data.startswith(start):
            raise UserError(f"{path} is {what}")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise UserError(f"{path} is empty")
    return data


def fingerprint_of(folder: Path, files: Sequence[str], options: list) -> str:
    """A digest, 32 hexadecimal digits, of all that shapes a data set: its files' contents and options (JSON types).

    Raises UserError where a file is missing, a directory or unreadable.
    """
    digest = hashlib.blake2b(json.dumps(options, sort_keys=True).encode(), digest_size=16)
    more = [name for name in (META_FILE, DESCRIPTION_FILE) if os.path.exists(folder / name)]
    for name in (*files, *more):
        data = _contents(folder / name)
        digest.update(f"{name} {len(data)} ".encode())
        digest.update(data)
    return digest.hexdigest()


def check_name(name: str, argument: str) -> None:
    """UserError unless name is that of a folder inside another one, or of one inside that: `demo`, `sets/demo`."""
    path = Path(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or not name.isprintable():
        raise UserError(f"{argument} must be a folder's name such as demo, not absolute and without '..', got {name!r}")


def line_of(data: bytes, offset: int) -> int:
    """The 1-based line that holds the byte at offset."""
    return data.count(b"\n", 0, offset) + 1


def line_of_row(data: bytes, row: int) -> int:
    """The 1-based line of row `row`, counted from 0 over the lines that are not blank; of the last where it ends."""
    lines = [number for number, line in enumerate(data.splitlines(), 1) if line.strip(b" ")]
    return lines[min(row, len(lines) - 1)]


def malformed(path: Path, error: Exception) -> UserError:
    """The error that pandas had with the file's table, in one line."""
    said = str(error).strip().splitlines()[-1].removeprefix("Error tokenizing data. C error: ")
    return UserError(f"{path} is malformed: {said}")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What goes wrong with a file that is read in the body, as a UserError."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, expected a file") from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise UserError(f"{path} is no gzip file, or not a whole one; download it again") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from None


def find(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of the files that is in the folder, as it is or as a .gz."""
    paths = (folder / (name + ending) for name in names for ending in ("", GZIP))
    return next((path for path in paths if os.path.isfile(path)), None)


def unpacked_name(path: Path) -> str:
    """The name of a file, or of what a .gz holds."""
    return path.name.removesuffix(GZIP)


def _contents(path: Path) -> bytes:
    with readable(path):
        return path.read_bytes()
