"""A run with captured steps is the run with eager ones: epochs, early stop, resuming, and the log but for its times."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from ans_fast.runner import fit
from ans_fast.training.captured import CapturedStep
from tests.training.tape import Tapes

FLAGS = "--path ../data --dataset top --model_name LightGCN --batch_size 64 --emb_size 8 --lr 0.02 --early_stop 2"
TIMES = re.compile(r"\[[0-9.]+ s\]")


def test_runs_are_alike(go, work, monkeypatch: pytest.MonkeyPatch):
    asked: list[bool] = []

    def captured(model: Any, optimizer: Any, group: Any, capture: bool) -> CapturedStep:
        asked.append(capture)
        return CapturedStep(model, optimizer, Tapes)

    told, weights = [], []
    for name in ("eager", "captured"):
        lines: list[str] = []
        for more in (["--epoch", "2"], ["--epoch", "60", "--load", "1"], ["--epoch", "1", "--capture", "0"]):
            status, out, err = go(*FLAGS.split(), "--model_path", f"{name}.pt", *more)
            assert (status, err) == (0, "")
            lines += [TIMES.sub("", line) for line in out.splitlines() if re.match("Epoch|Early|Best|Test", line)]
        told.append(lines)
        weights.append(torch.load(f"{name}.pt", weights_only=True)["weights"])
        monkeypatch.setattr(fit, "make_step", captured)
    assert told[0] == told[1]
    assert any(line.startswith("Early stop at") for line in told[0])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert asked == [True, True, False]
