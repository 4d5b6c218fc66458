"""Disks that are full, output that nobody takes, folders that are removed: one line, a status that is not 0 when
results are lost, and the files of before or whole new ones."""

from __future__ import annotations

import errno
import logging
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from ans_fast.command_line import _open_closed_streams
from ans_fast.data.command import main as data_main
from ans_fast.runner.main import main as run_main
from tests.attack import sets
from tests.attack.attack import REFUSED, RIGHT, Attack, Case, Fault, check_nothing_left, check_right, judge
from tests.attack.child import Ended, in_child

WRITES = ("run", "run on", "plot", "convert", "describe")


class Disks(Attack):
    """The base is a command, the changes one thing that is amiss."""

    name = "disks"

    def prepare(self, folder: Path) -> None:
        self.folder = folder
        self.tmpfs = _mounts(folder)
        sets.write_topk(folder / "data" / "small")
        sets.write_recbole(folder / "atomic", splits=False)
        self.sizes = {}
        for name in WRITES:
            home = folder / name
            home.mkdir()
            if name == "run on":
                shutil.copytree(folder / "run", home, dirs_exist_ok=True)
            check_right(self._once(name, home))
            self.sizes[name] = max(path.stat().st_size for path in home.rglob("*") if path.is_file())

    def draw(self, rng: random.Random) -> Case:
        kinds = ["file size", "file size", "/dev/full", "closed", "nobody reads", "folder removed"]
        kind = rng.choice([*kinds, *(["full disk"] * 3 if self.tmpfs else [])])
        return Case(rng.choice(WRITES), ((kind, rng.random()),))

    def carry_out(self, case: Case, folder: Path) -> str:
        name, ((kind, share), *_) = case.base, case.changes or (("nothing", 0.0),)
        home = folder / "run"
        home.mkdir()
        room = int(share * 1.2 * self.sizes[name])
        with _tmpfs(home, room + (1 << 16)) if kind == "full disk" else _plain():
            if name == "run on":
                shutil.copytree(self.folder / "run", home, dirs_exist_ok=True)
            before = _content(home)
            if kind == "full disk":
                _fill(home / "filler", room)
            ended = self._once(name, home, partial(_spoil, kind, share, room))
            outcome = self._judge(name, kind, ended)
            (home / "filler").unlink(missing_ok=True)
            check_nothing_left(home)
            self._check_files(name, kind, home, before, outcome)
        return outcome

    def _once(self, name: str, home: Path, spoil: partial | None = None) -> Ended:
        where = f"--path {self.folder}/data --dataset small --log_file out/log.txt --model_path model/weights.pt"
        run = [*sets.SHORT, "--model_name", "BPRMF", *where.split()]
        if find_spec("tensorboard"):
            run += ["--tensorboard", "curves"]
        argv = {
            "run": run,
            "run on": [*run, "--load", "1", "--epoch", "4"],
            "plot": [*run, "--plot", "1"],
            "convert": ["convert", f"{self.folder}/atomic", "--out", "out", "--neg_items", "0"],
            "describe": ["describe", "small", "--path", f"{self.folder}/data", "--plot", "out/picture.png"],
        }[name]
        main = data_main if name in ("convert", "describe") else run_main
        return in_child(partial(main, argv), home, 60, spoil)

    def _judge(self, name: str, kind: str, ended: Ended) -> str:
        if kind == "nobody reads" and ended.status == 141 and not ended.err:
            return REFUSED
        outcome = judge(ended)
        if kind == "/dev/full" and outcome == RIGHT:
            raise Fault("status 0 though nothing could be printed")
        return outcome

    def _check_files(self, name: str, kind: str, home: Path, before: dict, outcome: str) -> None:
        """Each file is that of before or that of a run to which nothing happened; all of these after status 0."""
        whole, now = _content(self.folder / name), _content(home)
        for file, content in now.items():
            if not _is_log(file) and content not in (before.get(file), whole.get(file)) and not file.endswith(".pt"):
                raise Fault(f"{file} is partial")
            if file.endswith(".pt") and content is None:
                raise Fault(f"{file} is damaged")
        if outcome == RIGHT and (missing := whole.keys() - now.keys()):
            raise Fault(f"status 0, yet lost {', '.join(sorted(missing))}")
        if outcome == RIGHT and any(content != now[file] for file, content in whole.items() if not _is_log(file)):
            raise Fault("status 0 with other results")
        if lost := [file for file in before if file.endswith(".pt") and file not in now]:
            raise Fault(f"lost {', '.join(lost)}")


def _is_log(file: str) -> bool:
    """Whether the file has times or pictures, which differ from run to run."""
    return file.endswith(("log.txt", "results.json", ".png"))


def _content(home: Path) -> dict[str, object]:
    """What is in each file but the curves; of tensors the weights' bytes, None where they do not load."""
    found: dict[str, object] = {}
    for path in home.rglob("*"):
        if path.is_file() and path.name != "filler" and "events.out" not in path.name:  # their names are random
            found[str(path.relative_to(home))] = _weights(path) if path.suffix == ".pt" else path.read_bytes()
    return found


def _weights(path: Path) -> list[bytes] | None:
    try:
        return [tensor.numpy().tobytes() for tensor in torch.load(path, weights_only=True)["weights"].values()]
    except Exception:
        return None


def _spoil(kind: str, share: float, room: int) -> None:
    """What happens in the child before its command starts."""
    if kind == "file size":
        room = max(room, 1 << 12)  # stderr is a file too
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    elif kind == "/dev/full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    elif kind == "closed":
        sys.stdout.close()
        os.close(1)
        sys.stdout = None  # as Python has it then
        _open_closed_streams()  # the first that `start` does
    elif kind == "nobody reads":
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 1)
    elif kind == "folder removed":
        _remove_at(int(share * 12))


def _remove_at(record: int) -> None:
    """Removes the folder of the log as the record of this number is logged."""
    make, left = logging.getLogRecordFactory(), record

    def factory(*args: object, **options: object) -> logging.LogRecord:
        nonlocal left
        left -= 1
        if left == -1:
            shutil.rmtree("out", ignore_errors=True)
        return make(*args, **options)

    logging.setLogRecordFactory(factory)


def _mounts(folder: Path) -> bool:
    """Whether small disks can be had here: root may mount them in memory."""
    target = folder / "mounted"
    target.mkdir()
    try:
        with _tmpfs(target, 1 << 16):
            return True
    except OSError:
        return False


@contextmanager
def _tmpfs(target: Path, size: int) -> Iterator[None]:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "attack", target], capture_output=True)
    if done.returncode:
        raise OSError(done.stderr.decode())
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", target], check=True)


@contextmanager
def _plain() -> Iterator[None]:
    yield


def _fill(path: Path, room: int) -> None:
    """Writes until about `room` bytes are free."""
    disk = os.statvfs(path.parent)
    left = disk.f_bavail * disk.f_frsize - room
    try:
        path.write_bytes(bytes(max(left, 0)))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
