"""A run that is killed at any moment and resumed ends with the very weights of one that was not."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
import torch

RUN = (
    "--path ../data --dataset top --epoch 12 --early_stop 0 --batch_size 8 --emb_size 8 --save_final_results 0".split()
)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["weights"]


@pytest.mark.parametrize(("model", "optimizer"), [("ANS", "Adam"), ("BPRMF", "Adagrad")])
def test_killed_runs_end_bit_equal(start, go, work: Path, model, optimizer):
    flags = ["--model_name", model, "--optimizer", optimizer, *RUN]
    assert start(*flags, "--model_path", "whole.pt").wait(60) == 0
    rng = random.Random(0)
    for attempt in range(3):
        process = start(*flags, "--model_path", "killed.pt", "--load", str(int(Path("killed.resume.pt").exists())))
        for line in process.stdout:
            if line.startswith(f"Epoch {1 + 4 * attempt} "):
                break
        time.sleep(rng.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(*flags, "--model_path", "killed.pt", "--load", "1")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "Resume after epoch" in out
    whole, killed = weights(Path("whole.pt")), weights(Path("killed.pt"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


def test_resuming_twice_and_going_on(go, work: Path):
    flags = ["--model_name", "LightGCN", *RUN]
    go(*flags, "--model_path", "whole.pt")
    go(*flags, "--model_path", "parts.pt", "--epoch", "5")
    _, out, _ = go(*flags, "--model_path", "parts.pt", "--load", "1")
    assert "Resume after epoch 5 " in out
    assert "Epoch 6 " in out
    assert "Epoch 5 " not in out
    assert all(torch.equal(a, weights(Path("parts.pt"))[name]) for name, a in weights(Path("whole.pt")).items())
    _, out, _ = go(*flags, "--model_path", "parts.pt", "--load", "1")
    assert "Epoch " not in out.split("Resume after epoch 12")[1].replace("Test After", "")


def test_early_stop_counts_over_a_resume(go, work: Path):
    flags = ["--model_name", "BPRMF", *RUN, "--epoch", "60", "--early_stop", "4", "--lr", "0.02"]
    _, whole, _ = go(*flags, "--model_path", "whole.pt")
    stop = next(line for line in whole.splitlines() if line.startswith("Early stop at"))
    last = int(stop.split()[3])
    assert 4 < last < 60
    go(*flags, "--model_path", "parts.pt", "--epoch", str(last - 2))
    _, parts, _ = go(*flags, "--model_path", "parts.pt", "--load", "1")
    assert stop in parts
    assert [x.split("dev=")[1].split(" [")[0] for x in whole.splitlines() if x.startswith("Best")] == [
        x.split("dev=")[1].split(" [")[0] for x in parts.splitlines() if x.startswith("Best")
    ]


def test_ctrl_c_evaluates_the_best_weights(start, work: Path):
    process = start("--model_name", "BPRMF", *RUN, "--epoch", "100000")
    for line in process.stdout:
        if line.startswith("Epoch 3 "):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == ""
    assert "Early stop manually" in out
    assert "Best Iter(dev)=" in out
    assert "Test After Training: (" in out
    assert next((work / "log/BPRMF").glob("*/results.json")).exists()
