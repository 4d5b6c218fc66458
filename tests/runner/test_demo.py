"""The demo, on a smaller set than its own."""

from __future__ import annotations

import re
import shutil

import pytest

from ans_fast.distributed import LAUNCHED
from ans_fast.runner import demo


@pytest.fixture
def small(work):
    shutil.copytree(work / "data/top", "data/demo")


def test_both_backends_have_one_loss(small, capsys):
    assert demo.main(["--epoch", "2"]) == 0
    told = capsys.readouterr().out
    assert "Early stop" not in told
    assert "Epoch 2 " in told
    seconds, losses = (re.findall(pattern, told.splitlines()[-1]) for pattern in (r"([0-9.]+) s \(", r"loss ([0-9.]+)"))
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-5)
    assert float(losses[0]) > 0.5  # log 2 and the auxiliary terms, before anything is learned
    assert all(float(value) >= 0 for value in seconds)
    assert len(seconds) == 2


def test_mistakes(small, capsys, monkeypatch):
    assert demo.main(["--epoch", "x"]) == 2
    for name in LAUNCHED:
        monkeypatch.setenv(name, "0")
    assert demo.main([]) == 2
    assert "start it without torchrun" in capsys.readouterr().err
