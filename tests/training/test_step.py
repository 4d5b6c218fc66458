"""Steps: their seeds, and what they give."""

from __future__ import annotations

import torch

from ans_fast import models
from ans_fast.ops._seed import draw_seeds
from ans_fast.training.batches import Rows
from ans_fast.training.optimizer import make_optimizer
from ans_fast.training.step import Step
from tests.conftest import random_graph


def test_an_epochs_seeds_are_those_drawn_one_by_one():
    torch.manual_seed(3)
    alone = [int(draw_seeds()) for _ in range(10)]
    torch.manual_seed(3)
    assert draw_seeds(5, 2).flatten().tolist() == alone
    assert len(set(alone)) == 10


def test_an_epoch_steps_through_the_rows_in_their_order():
    graph = random_graph(20, 30, 100)
    torch.manual_seed(0)
    model = models.ANS(graph, emb_size=4)
    seen = []

    class Watched(Step):
        def __call__(self, batch, seeds):
            seen.append((batch.users.tolist(), [seed.shape for seed in seeds]))
            return super().__call__(batch, seeds)

    step = Watched(model, make_optimizer(model, "Adam", 1e-3, 0.0))
    assert step.names == ()
    given = list(step.epoch(Rows(torch.arange(7), torch.arange(7)), 3))
    assert seen == [(users, [(1,), (1,)]) for users in ([0, 1, 2], [3, 4, 5], [6])]
    assert step.names == ("loss", "bpr", "sns", "distance", "orthogonality")
    assert all(values.shape == (5,) and not values.requires_grad for values in given)
