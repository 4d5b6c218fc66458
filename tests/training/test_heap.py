"""Steps in a process of their own, whose heap nothing has grown before."""

from __future__ import annotations

import resource

import torch

from ans_fast.models import LightGCN
from ans_fast.training.loop import train_epoch
from ans_fast.training.optimizer import make_optimizer
from ans_fast.training.step import Step
from tests.conftest import random_graph, run_at_simd_level

STEPS, EPOCHS = 10, 5


def check_faults() -> None:
    """Pages are mapped while the heap finds its size, and hardly any after that: without its bound raised it is 130 to
    270 a step."""
    torch.set_num_threads(1)
    model = LightGCN(random_graph(10_000, 10_000, 20_000))
    step, rows = Step(model, make_optimizer(model, "Adam", 1e-3, 0.0)), model.rows_of_clicks()[: STEPS * 64]
    train_epoch(step, rows, 64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(EPOCHS):
        train_epoch(step, rows, 64)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 60 * STEPS * EPOCHS


def test_steps_find_the_memory_that_those_before_them_freed():
    run_at_simd_level("", "from tests.training import test_heap; test_heap.check_faults()")
