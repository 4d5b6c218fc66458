"""Training that goes on from a checkpoint, in Python alone, ends as if it had never stopped."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ans_fast import tensor_files
from ans_fast.errors import UserError
from ans_fast.models import ANS, BPRMF
from ans_fast.tensor_files import load_tensors, save_tensors
from ans_fast.training.batches import Rows
from ans_fast.training.checkpoint import Checkpoint
from ans_fast.training.loop import train_epoch
from ans_fast.training.optimizer import make_optimizer
from ans_fast.training.step import Step
from tests.conftest import random_graph

GRAPH = random_graph(30, 20, 200)
ROWS = Rows(torch.arange(29).repeat(4), torch.arange(116) % 19)
DATA, FLAGS = {"fingerprint": "abc", "users": 30}, {"lr": 0.01, "model": "ANS"}


def step_of(seed: int, kind: type = ANS, optimizer: str = "Adam") -> Step:
    torch.manual_seed(seed)
    model = kind(GRAPH, emb_size=4)
    return Step(model, make_optimizer(model, optimizer, 0.01, 1e-4))


def train(step: Step, epochs: int) -> list[float]:
    return [train_epoch(step, ROWS, 16)["loss"] for _ in range(epochs)]


@pytest.fixture
def file(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "run.pt", DATA, FLAGS)


@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "Adagrad", "Adadelta"])
def test_goes_on_as_if_it_had_never_stopped(file: Checkpoint, optimizer: str):
    whole = step_of(3, optimizer=optimizer)
    losses = train(whole, 4)
    parts = step_of(3, optimizer=optimizer)
    train(parts, 2)
    file.save(parts.model, parts.optimizer, {"epoch": 2, "best": {"x": torch.ones(3)}})
    again = step_of(99, optimizer=optimizer)
    content, changed = Checkpoint(file.path, DATA, FLAGS).load(again.model, again.optimizer)
    assert (content["epoch"], content["best"]["x"].tolist(), changed) == (2, [1, 1, 1], {})
    assert train(again, 2) == losses[2:]
    states = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_tells_which_flags_differ(file: Checkpoint):
    step = step_of(0)
    train(step, 1)
    file.save(step.model, step.optimizer, {})
    _, changed = Checkpoint(file.path, DATA, {"lr": 0.02, "model": "ANS", "l2": 1}).load(step.model, step.optimizer)
    assert changed == {"lr": (0.01, 0.02), "l2": (None, 1)}


def forget(name: str) -> Callable[[dict], object]:
    return lambda content: content.pop(name)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content["data"].update(users=31), r"is of other data \(users 31 -> 30\)"),
        (forget("optimizer"), r"is no checkpoint of this run \('optimizer'\)"),
        (lambda content: content["optimizer"].clear(), "optimizer must hold the state of parameters, got none"),
        (forget("random"), r"is no checkpoint of this run \('random'\)"),
        (lambda content: content.update(random=torch.zeros(3)), "is no checkpoint of this run"),
        (lambda content: content["weights"].popitem(), "weights must hold"),
        (lambda content: content["flags"].update(lr=torch.ones(2)), "flags must hold numbers and texts by name"),
    ],
)
def test_refuses_what_does_not_fit(file: Checkpoint, spoil, message):
    step = step_of(0)
    train(step, 1)
    file.save(step.model, step.optimizer, {})
    content = load_tensors(file.path)
    spoil(content)
    save_tensors(file.path, content)
    with pytest.raises(UserError, match=message) as error:
        file.load(step.model, step.optimizer)
    assert str(file.path) in str(error.value)


def test_refuses_another_model(file: Checkpoint):
    step, other = step_of(0), step_of(0, BPRMF)
    file.save(step.model, step.optimizer, {})
    with pytest.raises(UserError, match=r"weights must hold u_embeddings\.weight"):
        file.load(other.model, other.optimizer)


def test_is_due_when_writing_takes_a_small_share_of_the_time(file: Checkpoint, monkeypatch):
    now = iter([0.0, 0.0, 1.0, 10.0, 22.0])
    monkeypatch.setattr("ans_fast.training.checkpoint.perf_counter", lambda: next(now))
    step = step_of(0)
    assert file.due()  # nothing is written yet
    file.save(step.model, step.optimizer, {})  # from 0 to 1: once more after 20 seconds
    assert not file.due()
    assert file.due()


def test_a_file_that_is_cut_short_while_it_is_read_ends_the_reading():
    assert tensor_files._digest(io.BytesIO(b"abc"), 9) == hashlib.blake2b(b"abc", digest_size=32).digest()
