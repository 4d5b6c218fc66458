"""A whole ANS training epoch: negatives, propagation, loss, gradients and Adam."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np
import pytest
import torch

from ans_fast import BipartiteGraph, backend, reference
from ans_fast.models import ANS
from ans_fast.training.batches import Rows
from ans_fast.training.loop import train_epoch
from ans_fast.training.optimizer import make_optimizer
from ans_fast.training.step import Step
from benchmarks.cases import EPOCH_QUICK, EPOCH_SIZES, EpochSize, epoch_pairs
from benchmarks.conftest import quick
from benchmarks.plain import compiled, torch_random

PROVIDERS = ("fused", "eager", "compile", "reference")
TOLERANCE = 1e-4  # relative, of the first batches' mean loss


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("size", EPOCH_QUICK if quick(metafunc.config) else EPOCH_SIZES, ids=str)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_epoch(size: EpochSize, provider: str, measure) -> None:
    source, (users, items) = epoch_pairs(size)
    graph = BipartiteGraph(users, items, size.graph.users, size.graph.items)
    rows = Rows(torch.from_numpy(users), torch.from_numpy(items))
    # Two batches of the sizes that an epoch has, its last one being smaller: they warm up and compile.
    last = len(rows) % size.B or size.B
    few = rows[: size.B + last]
    with _running(provider):
        train = _trainer(graph, size)
        loss = train(few)
        if provider in ("fused", "reference"):
            assert abs(loss - _reference_loss(graph, size, few)) < TOLERANCE * abs(loss)
        assert np.isfinite(loss)
        rounds = None if provider == "fused" else 1
        measure(
            lambda: train(rows),
            step=lambda: train(few),
            rounds=rounds,
            op="epoch",
            provider=provider,
            mode="training",
            config=f"{source} {size}",
        )


def _trainer(graph: BipartiteGraph, size: EpochSize) -> Callable[[Rows], float]:
    torch.manual_seed(0)
    model = ANS(graph, emb_size=size.D, n_layers=size.layers, num_neg=size.M, reg_weight=1e-4)
    step = Step(model, make_optimizer(model, "Adam", lr=1e-3, l2=0.0))
    return lambda rows: train_epoch(step, rows, size.B)["loss"]


def _reference_loss(graph: BipartiteGraph, size: EpochSize, rows: Rows) -> float:
    with backend("reference"):
        return _trainer(graph, size)(rows)


@contextmanager
def _running(provider: str) -> Iterator[None]:
    """Within the block the operators are the provider's. `reference` is the reference backend as it comes."""
    with ExitStack() as stack:
        if provider != "fused":
            stack.enter_context(backend("reference"))
        if provider in ("eager", "compile"):
            stack.enter_context(torch_random())
        if provider == "compile":  # batches look at varying numbers of rows
            stack.enter_context(mock.patch.object(reference, "ans_terms", compiled(reference.ans_terms, dynamic=True)))
        yield
