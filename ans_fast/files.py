"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ans_fast.errors import UserError, reason


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a whole file as `atomic_file` does."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write a file to, which takes path's place at the end.

    A reader, a crash or a power cut finds the old file or the new one, through to the disk. A write that fails or is
    interrupted leaves nothing behind; what a killed process left, the next write of the same path removes. Missing
    folders are made. Raises UserError where the disk refuses.
    """
    with _temporary(path) as temporary:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill, which takes path's place at the end, as `atomic_file` does for files.

    A folder that is there goes as a whole, with all that is in it. A process killed between the two renames leaves
    the old one beside path, from where `restore_folder` takes it back.
    """
    path = path.resolve()
    with _temporary(path) as folder:
        restore_folder(path)
        folder.mkdir()
        yield folder
        for file in (*folder.iterdir(), folder):
            _flush(file)
        old = _aside(path)
        _remove(old)
        if path.is_dir():
            path.rename(old)
        try:
            folder.rename(path)
        finally:
            restore_folder(path)
        _flush(path.parent)
        _remove(old)


def restore_folder(path: Path) -> None:
    """Puts back the folder that an `atomic_folder` cut short has moved aside. Raises OSError."""
    if not path.exists() and _aside(path).is_dir():
        _aside(path).rename(path)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A free name beside path that tells whose it is; whatever is there at the end is removed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            if not _runs(left.suffixes[-2][1:]):
                _remove(left)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            yield temporary
        finally:
            _remove(temporary)
    except OSError as error:
        raise UserError(f"cannot write {path}: {reason(error)}") from None


def _runs(process: str) -> bool:
    """Whether another process of this number lives; True for what is no number."""
    if not process.isdigit():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return int(process) != os.getpid()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Through to the disk: a file's content, a folder's names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
