"""Reading whole files, with readable errors."""

from __future__ import annotations

from pathlib import Path

from ans_fast.errors import UserError, reason


def read_bytes(path: Path) -> bytes:
    """The whole file; UserError where it is missing, a directory, unreadable or empty."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, expected a file") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from None
    if not data.strip():
        raise UserError(f"{path} is empty")
    return data


def line_of(data: bytes, offset: int) -> int:
    """The 1-based line that holds the byte at offset."""
    return data.count(b"\n", 0, offset) + 1
