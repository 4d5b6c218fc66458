"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ans_fast.errors import UserError, reason

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a whole file as `atomic_file` does."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write a file to, which takes path's place at the end.

    A reader, a crash or a power cut finds the old file or the new one, through to the disk. A write that fails or is
    interrupted leaves nothing behind; what a killed process left, the next write of the same path removes. Missing
    folders are made. A symbolic link stays and its target is replaced; the mode of a file that is replaced stays.
    Raises UserError where the disk refuses, and where something stands at `path` that is no file.
    """
    target = output_file(path)
    with _temporary(target) as temporary:
        yield temporary
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        _flush(temporary)
        temporary.replace(target)
        _flush(target.parent)


def output_file(path: Path) -> Path:
    """Where a write to `path` ends up: symbolic links are followed. Raises UserError unless a file that can be written
    stands there, or nothing."""
    target = Path(os.path.realpath(path)) if os.path.islink(path) else path
    try:
        kind = _KINDS.get(stat.S_IFMT(target.stat().st_mode))
    except (FileNotFoundError, NotADirectoryError):
        return target
    except OSError as error:
        raise UserError(f"cannot write {path}: {reason(error)}") from None
    if kind:
        raise UserError(f"cannot write {path}: is {kind}")
    if not os.access(target, os.W_OK):
        raise UserError(f"cannot write {path}: the file is read-only")
    return target


def check_outputs(paths: Iterable[Path]) -> None:
    """Raises UserError unless each of the files can be written later by `atomic_file`; makes their folders."""
    for target in [output_file(path) for path in paths]:
        with _temporary(target):
            pass


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill, which takes path's place at the end, as `atomic_file` does for files.

    A folder that is there goes as a whole, with all that is in it. A process killed between the two renames leaves
    the old one beside path, from where `restore_folder` takes it back.
    """
    path = path.resolve()
    with _temporary(path, folder=True) as folder:
        restore_folder(path)
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
def _temporary(path: Path, folder: bool = False) -> Iterator[Path]:
    """A new file or folder beside path, of a random name; whatever has that name at the end is removed.

    The lock that is held on it tells other processes, in other containers too, that its writer lives.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        temporary, handle = _claim(path, folder)
        try:
            yield temporary
        finally:
            _remove(temporary)
            os.close(handle)
    except OSError as error:
        raise UserError(f"cannot write {path}: {reason(error)}") from None


def _claim(path: Path, folder: bool) -> tuple[Path, int]:
    """Makes the temporary file or folder and locks it; its path and the handle that holds the lock."""
    while True:
        temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
        try:
            if folder:
                temporary.mkdir()
            handle = os.open(temporary, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        if _lock(handle) is not False and temporary.exists():
            return temporary, handle
        os.close(handle)  # another process took it for abandoned before it was locked


def _remove_abandoned(path: Path) -> None:
    """Removes the temporary files and folders of path whose lock nobody holds: their writers were killed."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.tmp"):
        try:
            handle = os.open(left, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        if _lock(handle):
            _remove(left)
        os.close(handle)


def _lock(handle: int) -> bool | None:
    """Takes the file's lock: True; False where another holds it; None where the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


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
