"""A short run of every attack, the same cases every time; `make attack` goes on from there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest

from ans_fast import ops
from tests.attack import child
from tests.attack.__main__ import ATTACKS
from tests.attack.attack import Case, Fault, judge, smallest
from tests.attack.child import Ended
from tests.attack.operators import OPERATORS
from tests.conftest import ROOT

TRIES = {"data": 90, "checkpoints": 30, "caches": 40, "flags": 80, "kills": 14, "disks": 20, "operators": 120}


@pytest.mark.parametrize("name", TRIES)
def test_no_fault(name: str, tmp_path: Path) -> None:
    path = os.pathsep.join([part for part in (os.environ.get("PYTHONPATH"), str(ROOT)) if part])
    command = [sys.executable, "-m", "tests.attack", "--only", name, "--tries", str(TRIES[name])]
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name}: {TRIES[name]} tries" in done.stdout
    assert not list(tmp_path.iterdir())


def test_every_attack_is_tried() -> None:
    assert TRIES.keys() == ATTACKS.keys()


def test_every_operator_is_attacked() -> None:
    registered = re.findall(r'^  X\(k\w+, "(\w+)"', (ROOT / "csrc/ops/all.h").read_text(), re.M)
    functions = [f"ops.{name}" for name in ops.__all__ if name not in ("backend", "build_info")]
    assert len(registered) > len(functions)
    assert {*registered, *functions} == set(OPERATORS)


@pytest.mark.parametrize(
    ("ended", "what"),
    [
        (Ended(-11, "", ""), "killed by signal 11"),
        (Ended(-9, "", "", hung=True), "hangs"),
        (Ended(1, "", "Traceback (most recent call last):\nKeyError: 1\n"), "traceback"),
        (Ended(2, "", "error: one\ntwo\n"), "not one printable line"),
        (Ended(2, "", "error: \x1b[31m\n"), "not one printable line"),
        (Ended(2, "", ""), "not one printable line"),
        (Ended(0, "", "a warning\n"), "words on stderr"),
        (Ended(1, "", "error: one\n"), "status 1"),
    ],
)
def test_faults_are_seen(ended: Ended, what: str) -> None:
    with pytest.raises(Fault, match=what):
        judge(ended)


def test_what_is_no_fault() -> None:
    assert judge(Ended(0, "results", "")) == "right"
    assert judge(Ended(2, "", "error: --lr must be a number\n")) == "refused"


def test_cases_are_made_smaller() -> None:
    class Odd:
        name = "odd"

        def carry_out(self, case: Case, folder: Path) -> str:
            if {1, 3} <= set(case.changes):
                raise Fault("1 and 3")
            return "right"

    case, fault = smallest(Odd(), Case("base", (0, 1, 2, 3, 4)), Fault("1 and 3 and more"))
    assert (case.changes, str(fault)) == ((1, 3), "1 and 3")


def test_children_end_as_they_are_seen(tmp_path: Path) -> None:
    """Of this process, which may have threads: the children run nothing of torch."""
    for call, status in (
        (lambda: 3, 3),
        (lambda: signal.raise_signal(signal.SIGTERM), -15),
        (lambda: 1 // 0, child.CRASHED),
        (lambda: sys.exit(4), 4),
        (lambda: len(bytearray(2 * child.MEMORY)), child.CRASHED),
    ):
        assert child.in_child(call, tmp_path).status == status
    assert child.in_child(lambda: print("said") or 0, tmp_path) == Ended(0, "said\n", "")
    assert child.in_child(lambda: sleep(60), tmp_path, seconds=0.2).hung
    assert not child.in_child(lambda: sleep(60), tmp_path, kill_after=0.2).hung
