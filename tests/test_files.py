"""Files and folders appear whole or not at all, and nothing else stays."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ans_fast.errors import UserError
from ans_fast.files import atomic_file, atomic_folder, check_outputs, restore_folder, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_is_replaced_with_its_folder_made(tmp_path: Path):
    path = tmp_path / "new/folder/file"
    for data in (b"one", b"two"):
        write_atomically(path, data)
        assert path.read_bytes() == data
    assert names(path.parent) == ["file"]


def test_content_is_on_the_disk_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    happened = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (happened.append(os.fstat(handle).st_ino), fsync(handle)))
    monkeypatch.setattr(Path, "replace", lambda self, to: (happened.append("renamed"), replace(self, to)))
    write_atomically(tmp_path / "file", b"content")
    assert happened == [(tmp_path / "file").stat().st_ino, "renamed", tmp_path.stat().st_ino]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_modes_follow_the_umask(tmp_path: Path, mask: int):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "file", b"")
        with atomic_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~mask


def begin(path: Path, error: type[BaseException]) -> None:
    with atomic_file(path) if path.suffix else atomic_folder(path) as temporary:
        (temporary if path.suffix else temporary / "inside").write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failures_leave_what_was_there(tmp_path: Path, error: type[BaseException]):
    write_atomically(tmp_path / "file.txt", b"old")
    for name in ("file.txt", "folder"):
        with pytest.raises(error):
            begin(tmp_path / name, error)
    assert names(tmp_path) == ["file.txt"]
    assert (tmp_path / "file.txt").read_bytes() == b"old"


def fill(path: Path, name: str) -> None:
    with atomic_folder(path) as folder:
        for file in ("shared", name):
            (folder / file).write_text(name)


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_folder_is_replaced_whole(tmp_path: Path):
    for name in ("one", "two"):
        fill(tmp_path / "folder", name)
        assert content(tmp_path / "folder") == {"shared": name, name: name}
    assert names(tmp_path) == ["folder"]


def test_folder_behind_a_link_is_replaced(tmp_path: Path):
    fill(tmp_path / "real", "one")
    (tmp_path / "link").symlink_to("real")
    fill(tmp_path / "link", "two")
    assert content(tmp_path / "real") == {"shared": "two", "two": "two"}
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path) == ["link", "real"]


def test_old_folder_stays_where_the_new_one_cannot_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fill(tmp_path / "folder", "one")
    rename = Path.rename

    def refuse(self: Path, to: Path) -> Path:
        if self.suffix == ".tmp":
            raise PermissionError(13, "Permission denied")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match=r"cannot write .*folder: permission denied"):
        fill(tmp_path / "folder", "two")
    assert content(tmp_path / "folder") == {"shared": "one", "one": "one"}
    assert names(tmp_path) == ["folder"]


def test_killed_at_any_step_of_replacing_a_folder(tmp_path: Path):
    """Python's audit hook tells each step at the file system: the process is killed at the first, the second …"""
    code = (
        "import os, sys; from pathlib import Path; from ans_fast.files import atomic_folder\n"
        "left = int(sys.argv[1])\n"
        "def step(event, _):\n"
        "    global left\n"
        "    left -= event.startswith(('os.', 'shutil.')) and event not in ('os.listdir', 'os.scandir', 'os.putenv')\n"
        "    if left < 0: os.kill(os.getpid(), 9)\n"
        "sys.addaudithook(step)\n"
        "with atomic_folder(Path('folder')) as folder:\n"
        "    for file in ('shared', 'two'): (folder / file).write_text('two')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    whole = {name: {"shared": name, name: name} for name in ("one", "two", "three")}
    seen = []
    for steps in range(40):
        fill(tmp_path / "folder", "one")
        done = subprocess.run([sys.executable, "-c", code, str(steps)], cwd=tmp_path, env=environment)
        restore_folder(tmp_path / "folder")
        seen.append(content(tmp_path / "folder"))
        assert seen[-1] in (whole["one"], whole["two"])
        fill(tmp_path / "folder", "three")
        assert names(tmp_path) == ["folder"]
        if done.returncode == 0:
            break
    assert done.returncode == 0
    assert seen[0] == whole["one"]
    assert seen[-1] == whole["two"]
    assert len(seen) > 5


def test_what_the_dead_left_is_removed_and_nothing_else(tmp_path: Path):
    kept = [".file.x.tmp", ".file.0123.tmp", ".other.01234567.tmp"]
    for name in (*kept, ".file.01234567.tmp"):
        (tmp_path / name).touch()
    (tmp_path / ".file.89abcdef.tmp").mkdir()
    write_atomically(tmp_path / "file", b"")
    assert names(tmp_path) == sorted([*kept, "file"])


@pytest.mark.parametrize("target", ["file", "folder"])
def test_what_the_living_write_stays(tmp_path: Path, target: str):
    """Two writers of one path, as in two containers with one process id: the last to end wins, both are whole."""
    start = atomic_file if target == "file" else atomic_folder
    with start(tmp_path / target) as first, start(tmp_path / target) as second:
        assert first != second
        assert first.exists()
    assert names(tmp_path) == [target]


@pytest.mark.parametrize("dangling", [True, False])
def test_links_stay_and_their_target_is_written(tmp_path: Path, dangling: bool):
    (tmp_path / "disk").mkdir()
    if not dangling:
        (tmp_path / "disk/file").write_bytes(b"old")
    (tmp_path / "middle").symlink_to("disk/file")
    (tmp_path / "link").symlink_to(tmp_path / "middle")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "middle").is_symlink()
    assert (tmp_path / "disk/file").read_bytes() == b"new"
    assert names(tmp_path) == ["disk", "link", "middle"]
    assert names(tmp_path / "disk") == ["file"]


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_a_replaced_file_keeps_its_mode(tmp_path: Path, mode: int):
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(mode)
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("kind", ["a named pipe", "a socket", "a directory", "a device"])
@pytest.mark.parametrize("write", [lambda path: write_atomically(path, b""), lambda path: check_outputs([path])])
def test_what_is_no_file_stays(tmp_path: Path, kind: str, write: Callable[[Path], None]):
    there = tmp_path / "there"
    if kind == "a named pipe":
        os.mkfifo(there)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(there))
    elif kind == "a directory":
        there.mkdir()
    else:
        there.symlink_to(os.ctermid())  # a link, so that what is written wrongly spoils no device
    before = there.stat().st_ino
    with pytest.raises(UserError, match=rf"cannot write .*there: is {kind}"):
        write(there)
    assert there.stat().st_ino == before
    assert names(tmp_path) == ["there"]


def test_outputs_are_checked_before_any_folder_is_made(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder: is a directory"):
        check_outputs([tmp_path / "new/file", tmp_path / "folder"])
    assert names(tmp_path) == ["folder"]
    check_outputs([tmp_path / "new/file"])
    assert names(tmp_path / "new") == []


def test_killed_process(tmp_path: Path):
    code = (
        "import os, sys, time; from pathlib import Path; from ans_fast.files import atomic_file\n"
        "with atomic_file(Path('file')) as path: path.write_text('half'); os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)})
    assert done.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 1
    write_atomically(tmp_path / "file", b"whole")
    assert names(tmp_path) == ["file"]


def test_refusals_are_told(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*inside: file exists"):
        write_atomically(tmp_path / "file/inside", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*folder: is a directory"):
        write_atomically(tmp_path / "folder", b"")
    assert names(tmp_path) == ["file", "folder"]
