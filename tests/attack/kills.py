"""Processes killed at any moment: what they leave is whole, and the same command then ends as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import sys
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import torch

from ans_fast.compare.command import main as compare_main
from ans_fast.data.command import main as data_main
from ans_fast.files import restore_folder
from ans_fast.runner.main import main as run_main
from tests.attack import sets
from tests.attack.attack import RIGHT, Attack, Case, Fault, check_nothing_left, check_right, judge
from tests.attack.child import Ended, in_child

EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree", "subprocess.Popen"}
TRAINING = "--epoch 6 --early_stop 0 --save_final_results 1"


class Kill(NamedTuple):
    """A SIGKILL before the n-th touch of a file (counted by the interpreter's audit events), or after a share of the
    time that the whole command takes."""

    touch: int | None
    share: float | None


class Kills(Attack):
    """The base is a command; it is killed as often as there are changes, then runs to its end."""

    name = "kills"

    def prepare(self, folder: Path) -> None:
        self.folder = folder
        sets.write_topk(folder / "data" / "small")
        sets.write_recbole(folder / "atomic", splits=False)
        self.seconds, self.touches = {}, {}
        for name in COMMANDS:
            began = perf_counter()
            check_right(self._once(name, folder / name))
            self.seconds[name] = perf_counter() - began

    def draw(self, rng: random.Random) -> Case:
        base = rng.choices(list(COMMANDS), weights=[6, 3, 3, 3, 1])[0]
        most = 4000 if base == "compare" else 120
        kills = [
            Kill(rng.randrange(most), None) if rng.random() < 0.7 else Kill(None, rng.random())
            for _ in range(rng.choice([1, 1, 2, 3]))
        ]
        return Case(base, tuple(kills))

    def carry_out(self, case: Case, folder: Path) -> str:
        home, name = folder / "run", case.base
        home.mkdir()
        old: dict[str, object] = {}
        if name == "convert over":
            flags = "--out data --neg_items 0 --min_rating 2".split()
            check_right(in_child(partial(data_main, ["convert", str(self.folder / "atomic"), *flags]), home))
            old = _files(home)
        for kill in case.changes:
            ended = self._once(name, home, kill)
            if ended.status != -signal.SIGKILL:
                judge(ended)
            if name.startswith("convert"):
                restore_folder(home / "data" / "atomic")  # as all do that read or write it
                if _files(home) not in (old, _files(self.folder / name)):
                    raise Fault(f"a partial set after a kill: {sorted(_files(home))}")
        check_right(self._once(name, home))
        check_nothing_left(home)
        expected, got = _files(self.folder / name), _files(home)
        if expected.keys() != got.keys():
            raise Fault(f"other files: {sorted(expected.keys() ^ got.keys())}")
        different = [file for file in expected if not _equal(expected[file], got[file])]
        if different:
            raise Fault(f"differ from those of a run that was not killed: {', '.join(different)}")
        return RIGHT

    def _once(self, name: str, home: Path, kill: Kill | None = None) -> Ended:
        home.mkdir(exist_ok=True)
        after = self.seconds[name] * kill.share if kill and kill.share is not None else None
        prepare = partial(_kill_at, kill.touch) if kill and kill.touch is not None else None
        return in_child(partial(COMMANDS[name], self.folder), home, 120, prepare, after)


def _train(flags: str, shared: Path) -> int:
    where = f"--path {shared}/data --dataset small --log_file log.txt --model_path weights.pt"
    return run_main([*sets.SHORT, *flags.split(), *TRAINING.split(), *where.split(), "--load", "1"])


def _convert(shared: Path) -> int:
    return data_main(["convert", str(shared / "atomic"), "--out", "data", "--neg_items", "0"])


def _compare(shared: Path) -> int:
    flags = f"--models BPRMF --datasets small --seeds 0 --epoch 3 --path {shared}/data --out out"
    return compare_main([*flags.split(), "--all", "--emb_size 4 --batch_size 32"])


COMMANDS = {
    "LightGCN": partial(_train, "--model_name LightGCN"),
    "BPRMF": partial(_train, "--model_name BPRMF --optimizer Adagrad"),
    "convert": _convert,
    "convert over": _convert,
    "compare": _compare,
}


def _kill_at(touch: int) -> None:
    """Kills this process before it touches files for the `touch`-th time from now on."""
    left = touch

    def hook(event: str, arguments: tuple) -> None:
        nonlocal left
        if event in EVENTS:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _files(home: Path) -> dict[str, object]:
    """Name and what matters of every file under home that is to be the same after a kill."""
    found: dict[str, object] = {}
    for path in sorted(home.rglob("*")):
        name = str(path.relative_to(home))
        abandoned = any(part.endswith((".tmp", ".old")) for part in path.relative_to(home).parts)
        if path.is_dir() or abandoned:  # which the next write of the same name removes
            continue
        if path.suffix == ".pt":
            found[name] = torch.load(path, weights_only=True)["weights"]
        else:
            found[name] = path.read_bytes() if path.suffix == ".csv" and path.name != "table.csv" else None
    return found


def _equal(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    return one == other
