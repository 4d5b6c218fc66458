"""Which step trains a model in a group; see tests/distributed for what comes of it."""

from __future__ import annotations

import pytest
import torch

from ans_fast import models
from ans_fast.distributed import Processes
from ans_fast.nn.columns import in_columns
from ans_fast.training.batches import Rows
from ans_fast.training.choose import make_step
from ans_fast.training.optimizer import make_optimizer
from tests.conftest import random_graph


class Recorded(Processes):
    """The first of two processes, the second of which has zeros in its columns; `sent` are the shapes that go to it."""

    rank, size, alone = 0, 2, False

    def __init__(self):
        self.sent = []

    def sum_(self, tensor):
        self.sent.append(tuple(tensor.shape))
        return super().sum_(tensor)

    def exchange(self, tensor, sent, received):
        self.sent.append(tuple(tensor.shape))
        return lambda: tensor.new_zeros(sum(received))


def step_of(name, group, **options):
    torch.manual_seed(0)
    with in_columns(group):
        model = models.by_name(name)(random_graph(20, 30, 100), emb_size=6, **options)
    return make_step(model, make_optimizer(model, "SGD", 0.1, 0.0), group)


def losses_of(step):
    """Of two batches."""
    torch.manual_seed(1)
    return torch.cat(list(step.epoch(Rows(torch.arange(10), torch.arange(10)), 7)))


@pytest.mark.parametrize("name", ["BPRMF", "LightGCN"])
def test_of_losses_over_scores_processes_exchange_sums_alone(name):
    """One a step, of all scores of the batch; the loss is the whole batch's, and gradients need nobody."""
    group = Recorded()
    step = step_of(name, group, num_neg=3)
    start = step.model.table.weight.detach().clone()
    values = losses_of(step)
    assert group.sent == [(7, 4), (3, 4)]
    assert step.alone
    assert torch.equal(step.of_batches(values), values)
    after = step.model.table.weight.detach().clone()
    step.model.table.columns = None  # the same numbers as a whole table
    step.model.table.weight.detach().copy_(start)
    assert torch.equal(losses_of(step), values)
    assert torch.equal(step.model.table.weight, after)
    assert not torch.equal(start, after)
    assert len(group.sent) == 2


def test_others_exchange_rows():
    group = Recorded()
    step = step_of("LightGCN", group, negative_sampling="DNS")
    losses_of(step)
    assert not step.alone
    assert len(group.sent) == 4  # rows and their gradients
