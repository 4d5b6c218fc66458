"""One comparison or search at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ans_fast.errors import UserError, reason


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Holds the folder's lock; the number of the open file that holds it. A process that inherits this file holds the
    lock too, so that it is free only when the last of them has ended. Raises UserError where another holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = os.open(folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {reason(error)}") from None
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"--out {folder}: another comparison or search runs there; wait for its end, or name another folder"
            ) from None
        yield number
    finally:
        os.close(number)
