"""Curves as TensorBoard reads them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ans_fast.errors import UserError
from ans_fast.runner.curves import Curves

RUN = "--model_name BPRMF --path ../data --dataset top --batch_size 64 --emb_size 8 --tensorboard curves".split()
FILES = "--log_file log/run.txt --model_path weights.pt".split()


def steps(folder: Path) -> dict[str, list[int]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_curves_go_on_after_a_resume(go, work: Path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    checkpoint = Path("weights.resume.pt")
    assert go(*RUN, *FILES, "--epoch", "3", "--test_epoch", "1")[0] == 0
    saved = checkpoint.read_bytes()
    assert go(*RUN, *FILES, "--epoch", "5", "--load", "1")[0] == 0
    checkpoint.write_bytes(saved)  # as if epochs 4 and 5 had been killed before they were saved
    assert go(*RUN, *FILES, "--epoch", "6", "--load", "1")[0] == 0
    found = steps(Path("curves/run"))
    assert found["loss"] == found["dev/HR@5"] == [1, 2, 3, 4, 5, 6]
    assert found["test/HR@5"] == [1, 2, 3]
    assert found["final/test/NDCG@50"]


def test_a_new_run_replaces_the_curves(go, work: Path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    for _ in range(2):
        assert go(*RUN, *FILES, "--epoch", "2")[0] == 0
    assert steps(Path("curves/run"))["loss"] == [1, 2]


def test_full_disk(tmp_path: Path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    curves = Curves(tmp_path)
    curves.add(1, 0.5, {"dev": {"HR@5": 0.25}})
    with open("/dev/full", "wb", buffering=0) as curves.file, pytest.raises(UserError, match="no space left"):
        curves.add(2, 0.5, {})
    assert steps(tmp_path) == {"loss": [1], "dev/HR@5": [1]}


def test_missing_tensorboard_is_told_before_anything_is_written(go, work: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    status, _, err = go(*RUN)
    assert (status, err) == (2, "error: --tensorboard needs tensorboard: pip install tensorboard\n")
    assert not (work / "log").exists()
