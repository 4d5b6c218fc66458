"""How the three command lines end when Ctrl-C comes while they start."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

import ans_fast
from ans_fast import command_line, overview
from ans_fast.errors import UserError
from tests.conftest import ROOT

COMMANDS = {  # and a library whose import shows that the slow part of the start has begun
    "run": ("--dataset none", "libtorch"),
    "compare": ("--models POP --datasets none", "libtorch"),
    "data": ("describe none", "numpy"),
}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="has no /proc")
@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_during_imports_ends_without_a_word(name, tmp_path):
    flags, library = COMMANDS[name]
    process = subprocess.Popen(
        [sys.executable, "-m", f"ans_fast.{name}", *flags.split()],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a background job may ignore it
    )
    while library not in Path(f"/proc/{process.pid}/maps").read_text():
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (-signal.SIGINT, "", "")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("variable", ["ANS_FAST_BACKEND", "ANS_FAST_SIMD"])
@pytest.mark.parametrize("name", ["run", "compare"])
def test_environment_variables_are_checked(name, variable, tmp_path):
    flags, _ = COMMANDS[name]
    process = subprocess.run(
        [sys.executable, "-m", f"ans_fast.{name}", *flags.split()],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), variable: "foo"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith(f"error: {variable} must be ")
    assert process.stderr.endswith("foo\n") or process.stderr.endswith("'foo'\n")
    assert process.stderr.count("\n") == 1


def test_errors_stay_one_line_of_bounded_length():
    message = str(UserError(f"--lr is {'1' * 5000}\n\x1b, expected a number"))
    assert message.startswith("--lr is 111")
    assert message.endswith("1\\n\\x1b, expected a number")
    assert " … " in message
    assert len(message) < 1000


def test_all_command_lines_by_name(capsys: pytest.CaptureFixture) -> None:
    command = [sys.executable, "-m", "ans_fast"]
    shown = subprocess.run(
        [*command, "data", "describe", "x", "--path", "/no"], cwd=ROOT, capture_output=True, text=True
    )
    assert (shown.returncode, shown.stdout, shown.stderr.count("\n")) == (2, "", 1)
    assert "no data set 'x' in /no" in shown.stderr
    assert overview.main([]) == 0
    told = capsys.readouterr().out
    assert all(f"\n  {name} " in told for name in overview.COMMANDS)
    assert overview.main(["traim"]) == 2
    assert "invalid choice: 'traim'" in capsys.readouterr().err
    assert overview.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"ans_fast {ans_fast.__version__} (")


def test_names_are_completed() -> None:
    assert {"Interactions", "BipartiteGraph", "__version__", "models"} <= {*dir(ans_fast)}
    assert {"ANS", "load"} <= {*dir(ans_fast.models)}
    assert {"load", "Dataset"} <= {*dir(ans_fast.data)}
    assert all(getattr(ans_fast, name) for name in ans_fast.__all__)


@pytest.mark.parametrize("name", ["run", "demo", "tune"])
def test_who_trains_prepares_its_process(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "start", lambda module: None)
    monkeypatch.setenv("GOMP_SPINCOUNT", "1")  # so that it is as it was afterwards
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.delitem(sys.modules, f"ans_fast.{name}", raising=False)
    runpy.run_module(f"ans_fast.{name}", run_name="__main__")
    assert os.environ["GOMP_SPINCOUNT"] == "10000"
