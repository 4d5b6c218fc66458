"""Reading and writing whole files: readable errors, and nothing half-written under a final name."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ans_fast.errors import UserError


def reason(error: OSError) -> str:
    """What the operating system said, in a few lower-case words."""
    return (error.strerror or type(error).__name__).lower()


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


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A new folder to fill, renamed to target at the end; where target exists, its other files stay and those of the
    same name are replaced one by one. UserError where the disk refuses."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            yield folder
            folder.chmod(0o777 & ~_umask())
            try:
                folder.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
                for file in folder.iterdir():
                    file.replace(target / file.name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise UserError(f"cannot write {target}: {reason(error)}") from None


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """A temporary path beside target to write, renamed to target at the end. OSError where the disk refuses."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    os.close(handle)
    try:
        yield Path(name)
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
