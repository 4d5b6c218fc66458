"""A process that fails ends all, within seconds, with one line that says why."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ans_fast.runner.main import run
from ans_fast.tensor_files import load_tensors
from tests.distributed.conftest import environment

KILLS = int(os.environ.get("ANS_FAST_KILLS", "0"))
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
RUN = "-m ans_fast.run --path data --epoch 100000 --early_stop 0 --emb_size 8 --model_path weights.pt --gpu".split()
RUN = [*RUN, "", "--log_file", "log.txt"]


def ends_of(processes: list[subprocess.Popen]) -> tuple[list[int], str]:
    """Statuses, and what all said on stderr."""
    said = [process.communicate(timeout=30)[1] for process in processes]
    return [process.returncode for process in processes], "".join(said)


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_other_flags_are_told(launch: Callable):
    statuses, said = ends_of(launch(*([*RUN, "--dataset", "small", "--lr", lr] for lr in ("0.1", "0.2"))))
    assert statuses == [2, 2]
    assert said == ("error: all processes must be given the same, but rank 1 differs from rank 0: --lr 0.2, not 0.1\n")


def same_weights(one: str, other: str) -> bool:
    """But for rounding, and what Adam makes of that."""
    weights = [load_tensors(Path(name))["weights"] for name in (one, other)]
    return all(torch.allclose(value, weights[1][key], rtol=1e-3, atol=1e-4) for key, value in weights[0].items())


SHORT = [*RUN, "--model_name", "LightGCN", "--dataset", "small", "--batch_size", "99", "--epoch", "12"]


def test_torchrun_starts_again_what_was_killed():
    command = [*TORCHRUN, "--max-restarts", "1", *SHORT, "--model_path", "killed.pt", "--load", "1"]
    job = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in job.stdout:
        if line.startswith("Epoch 2 "):
            break
    ranks = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    os.kill(int(ranks[1]), signal.SIGKILL)
    said, _ = job.communicate(timeout=60)
    assert job.returncode == 0
    assert "Resume after epoch " in said
    run([*SHORT[2:], "--model_path", "whole.pt"])
    assert same_weights("whole.pt", "killed.pt")


@pytest.mark.skipif(not KILLS, reason="ANS_FAST_KILLS says how often")
def test_killed_groups_end_and_go_on(launch: Callable):
    """At random moments, each time with another number of processes: the weights are those of an unbroken run."""
    rng = random.Random(0)
    ends_of(launch([*SHORT, "--model_path", "never.pt"]))
    flags = [*SHORT, "--model_path", "often.pt", "--load", "1"]
    for kill in range(KILLS):
        processes = launch(*[flags] * (2 + kill % 2))
        for line in processes[0].stdout:
            if line.startswith(("Epoch ", "Early stop")):
                break
        time.sleep(rng.random() * 0.1)
        victim = rng.randrange(len(processes))
        processes[victim].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        statuses, said = ends_of(processes)
        assert time.monotonic() - killed < 10
        assert set(statuses) <= {0, 2, -signal.SIGKILL}
        if 2 in statuses:
            lines = said.splitlines()  # of all that are left where the one that knows who tells is not
            assert all(line.startswith("error: another process of the group is lost, it was killed") for line in lines)
            assert len(lines) == 1 or victim == 0
    statuses, _ = ends_of(launch(flags))
    assert statuses == [0]
    assert same_weights("never.pt", "often.pt")


def test_torchrun_shows_one_line_of_what_all_find():
    """A loss that is not finite."""
    flags = ["--model_name", "NeuMF", "--optimizer", "SGD", "--lr", "1e38", "--dataset", "small"]
    ended = subprocess.run([*TORCHRUN, *RUN, *flags], env=environment(), capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert ended.stderr.count("error: the loss is not finite in epoch 1") == 1
    assert ended.stderr.count("error: ") == 1
    assert "Test Before Training" in ended.stdout
