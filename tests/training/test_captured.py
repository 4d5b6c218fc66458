"""Captured steps are eager steps, to the bit; CUDA graphs have a stand-in here."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ans_fast import backend, distributed, models
from ans_fast.errors import UserError
from ans_fast.models import losses
from ans_fast.nn import hops
from ans_fast.training import loop
from ans_fast.training.batches import Rows
from ans_fast.training.captured import CapturedStep, undone
from ans_fast.training.choose import make_step
from ans_fast.training.loop import NotFinite, train_epoch
from ans_fast.training.optimizer import make_optimizer
from ans_fast.training.step import Step
from tests.conftest import random_graph
from tests.models.test_waiting import CASES, rows_of
from tests.training.tape import Memory, Tapes

BATCH, N_ROWS = 6, 20  # three whole batches and one of two rows


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (losses, hops):
        monkeypatch.setattr(module, "is_free_to_read", lambda tensor: False)


class Run:
    """A model in training, with captured or eager steps."""

    def __init__(self, captured: bool, case: str = "ANS TopK LightGCN", optimizer: str = "Adam"):
        name, mode = case.split()[:2]
        torch.manual_seed(0)
        self.model = models.by_name(name)(random_graph(40, 50, 300), emb_size=8, mode=mode, **CASES[case][1])
        self.rows = rows_of(mode, N_ROWS)
        self.optimizer = make_optimizer(self.model, optimizer, 0.05, 0.01)
        self.tapes: Tapes | Memory = Tapes()
        self.losses: list[float] = []
        if captured:
            self.step: Step = CapturedStep(self.model, self.optimizer, lambda device: self.tapes)
        else:
            self.step = Step(self.model, self.optimizer)

    def train(self, epochs: int, on_batch: Callable[[], object] = lambda: None) -> None:
        self.losses += [train_epoch(self.step, self.rows, BATCH, on_batch)["loss"] for _ in range(epochs)]

    def state(self) -> list[Any]:
        """All that training changes."""
        kept = self.optimizer.state_dict()["state"]
        weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        return [weights, kept, self.losses, torch.get_rng_state(), self.step.names]


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def trained_alike(train: Callable[[Run], None], **options: Any) -> Run:
    """The captured one of two runs, of which the other is eager, whose states `train` has to leave equal."""
    runs, states = [Run(captured, **options) for captured in (False, True)], []
    for run in runs:
        torch.manual_seed(1)
        train(run)
        states.append(run.state())
    assert equal(*states)
    return runs[1]


LISTS = [f"LightGCN Impression {name}" for name in ("BPR", "BPRhardbefore", "attention_rank")]  # one of each kind
CAPTURED = [case for case, (captures, _) in CASES.items() if captures and ("Impression" not in case or case in LISTS)]


@pytest.mark.parametrize("case", CAPTURED)
def test_captured_steps_are_eager_steps(case: str):
    run = trained_alike(lambda run: run.train(2), case=case)
    assert (run.tapes.captured, run.tapes.replayed) == (2, 8)  # whole batches and the short one


@pytest.mark.parametrize("case", [case for case in CAPTURED if case.startswith(("LightGCN", "ANS TopK L"))])
def test_what_a_replay_reads_is_kept(case: str):
    run = Run(True, case)
    run.tapes = Memory()
    assert len([*run.step.epoch(run.rows, BATCH)]) == 4
    gc.collect()
    assert run.tapes.freed() == 0


@pytest.mark.parametrize("optimizer", ["SGD", "Adagrad"])
def test_other_optimizers(optimizer: str):
    trained_alike(lambda run: run.train(2), optimizer=optimizer)


@pytest.mark.parametrize("n_rows", [1, 6, 12])
def test_epochs_without_a_short_batch_or_with_nothing_else(n_rows: int):
    def train(run: Run) -> None:
        run.rows = run.rows[:n_rows]
        run.train(2)

    assert trained_alike(train).tapes.captured == 1


def test_another_learning_rate_is_recorded():
    def train(run: Run) -> None:
        run.train(1)
        for group in run.optimizer.param_groups:
            group["lr"] = 0.02
        run.train(2)

    assert trained_alike(train).tapes.captured == 4


def test_rows_of_another_number_are_recorded():
    def train(run: Run) -> None:
        run.train(1)
        run.rows = run.rows[:15]
        run.train(1)

    trained_alike(train)


def test_a_state_that_is_loaded_in_the_middle_is_gone_on_from():
    def train(run: Run) -> None:
        run.train(1)
        weights = {name: value.clone() for name, value in run.model.state_dict().items()}
        kept = {
            number: {name: value.clone() for name, value in values.items()}
            for number, values in run.optimizer.state_dict()["state"].items()
        }
        run.train(2)
        run.model.load_state_dict(weights)
        run.optimizer.load_state_dict({"state": kept, "param_groups": run.optimizer.state_dict()["param_groups"]})
        run.train(2)

    trained_alike(train)


def spoil(model: models.Recommender, user: int) -> None:
    """The loss of batches with the user is not a number from now on."""
    loss = model.loss

    def spoilt(batch: Rows, seeds: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        total, parts = loss(batch, seeds)
        return total.masked_fill((batch.users == user).any(), torch.nan), parts

    model.loss = spoilt


def test_the_batch_whose_loss_is_not_finite_is_named(monkeypatch: pytest.MonkeyPatch):
    """Though losses are looked at when more batches have gone by."""
    monkeypatch.setattr(loop, "CHECK_EVERY", {"cpu": 3})
    told, batches = [], []

    def train(run: Run) -> None:
        run.rows = replace(run.rows, users=torch.arange(N_ROWS))
        torch.manual_seed(1)
        at = torch.randperm(N_ROWS).tolist()  # as train_epoch takes them
        spoil(run.model, at[BATCH + 2])
        torch.manual_seed(1)
        with pytest.raises(NotFinite) as error:
            run.train(1, lambda: batches.append(run))
        told.append((error.value.batch, list(error.value.terms)))

    trained_alike(train)
    assert told == [(2, ["loss", "bpr", "sns", "distance", "orthogonality"])] * 2
    assert len(batches) == 4  # the third one's look ends the epoch


def test_an_epoch_that_is_interrupted_can_be_followed_by_another():
    def train(run: Run) -> None:
        seen: list[int] = []

        def interrupt() -> None:
            seen.append(0)
            if len(seen) == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run.train(1, interrupt)
        torch.manual_seed(2)
        run.train(1, lambda: seen.append(0))
        assert len(seen) == 2 + 4  # what a progress bar sees

    trained_alike(train)


def test_an_interrupted_warm_up_leaves_nothing_behind():
    run = Run(captured=True)
    before = run.state()

    def interrupted(function: Callable[[], None]) -> None:
        function()
        raise KeyboardInterrupt

    run.tapes.warm_up = interrupted
    with pytest.raises(KeyboardInterrupt):
        list(run.step.epoch(run.rows, BATCH))
    weights, kept, *_ = run.state()
    assert equal(weights, before[0])
    assert all(not value.any() for values in kept.values() for value in values.values())
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with undone([], run.optimizer):
        torch.rand(1)
    assert torch.equal(torch.rand(3), expected)


def test_what_cannot_be_captured_is_told():
    run = Run(captured=True)

    def refuse(function: Callable[[], None]) -> None:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    run.tapes.capture = refuse
    expected = r"a step of ANS can't be captured in a CUDA graph \(operation not permitted when stream .*--capture 0"
    with pytest.raises(UserError, match=expected):
        run.train(1)


MOVES = {
    "memory": lambda run: run.optimizer.state_dict()["state"][0].update(exp_avg=run.model.table.weight.detach() * 0),
    "numbers": lambda run: run.optimizer.param_groups[0].update(lr=0.5),
    "shapes": lambda run: setattr(run.model, "draw_negatives", lambda users, seed: users[:, None]),
    "operators": lambda run: run.model.margin.bias.requires_grad_(False),
}


@pytest.mark.parametrize("what", MOVES)
def test_the_stand_in_sees_what_a_cuda_graph_would_not_follow(what: str):
    run = Run(captured=True)
    steps = run.step.epoch(run.rows, BATCH)
    next(steps)
    MOVES[what](run)
    with pytest.raises((AssertionError, ValueError), match=r"recorded was|zip\(\)"):
        next(steps)


CPU, GPU = torch.device("cpu"), torch.device("cuda")
CHOICES = {
    "a GPU": (CapturedStep, {}, None),
    "the CPU": (Step, {"device": CPU}, None),
    "not wanted": (Step, {"capture": False}, None),
    "a model": (Step, {"captures": False}, "the loss of M as it is set here waits for the GPU"),
    "an optimizer": (Step, {"optimizer": "Adadelta"}, "Adadelta counts its steps on the CPU"),
    "the reference": (Step, {"backend": "reference"}, "the reference backend waits for the GPU"),
}


@pytest.mark.parametrize("case", CHOICES)
def test_steps_are_captured_where_that_is_possible(case: str, caplog: pytest.LogCaptureFixture):
    kind, options, why = CHOICES[case]
    model = SimpleNamespace(
        name="M",
        device=options.get("device", GPU),
        captures=options.get("captures", True),
        named_parameters=lambda: [("weight", torch.zeros(1, requires_grad=True))],
        decays=lambda name: True,
    )
    optimizer = make_optimizer(model, options.get("optimizer", "Adam"), 0.1, 0.0)
    with caplog.at_level(logging.INFO), backend(options.get("backend", "fused")):
        step = make_step(model, optimizer, distributed.ALONE, options.get("capture", True))
    assert type(step) is kind
    assert caplog.messages == ([f"Steps are not captured in CUDA graphs: {why}"] if why else [])
