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
    """A new folder to fill, which takes path's place at the end, as `atomic_file` does for files. Where `path` exists,
    its other files stay and those of the same name are replaced one by one."""
    with _temporary(path) as folder:
        folder.mkdir()
        yield folder
        for file in folder.iterdir():
            _flush(file)
        try:
            folder.rename(path)
        except OSError:
            if not path.is_dir():
                raise
            for file in folder.iterdir():
                file.replace(path / file.name)
        _flush(path.parent)


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
