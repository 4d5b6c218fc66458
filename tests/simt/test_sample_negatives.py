"""sample_negatives.cu on the CPU: what the operators' cases leave out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ans_fast
from tests.conftest import random_graph
from tests.simt import kernels


@pytest.mark.parametrize("order", [0, 1, 2])
def test_more_rows_than_the_grid_holds_in_any_order_of_threads_and_blocks(order):
    graph, n_rows = random_graph(20, 60, 500), 9_000  # two multiprocessors hold 8,192 threads
    users = torch.arange(n_rows) % 20
    with kernels.in_order(order):
        draws = kernels.sample_negatives(graph.indptr, graph.indices, users, 20, 60, 3, 7, 0)
        noise = kernels.ans_noise(7, n_rows, 3)
    assert torch.equal(draws, ans_fast.ops.sample_negatives(graph, users, 3, 7, 0))
    assert torch.equal(noise, ans_fast.ops.ans_noise(7, n_rows, 3))


def test_a_seed_in_memory_gives_the_same_draws():
    graph, users = random_graph(20, 60, 500), torch.arange(20)
    by_value, by_address = (
        kernels.sample_negatives(graph.indptr, graph.indices, users, 20, 60, 4, seed, 0)
        for seed in (77, torch.tensor([77]))
    )
    assert torch.equal(by_value, by_address)
    assert torch.equal(kernels.ans_noise(torch.tensor([77]), 5, 6), kernels.ans_noise(77, 5, 6))


def test_who_has_nothing_to_draw_gets_no_item():
    graph = ans_fast.BipartiteGraph(np.array([0, 0, 0, 1]), np.array([0, 1, 2, 1]), 2, 3)
    users = torch.tensor([0, 1, 2, -1])
    got = kernels.sample_negatives(graph.indptr, graph.indices, users, 2, 3, 5, 1, 0)
    assert (got[[0, 2, 3]] == kernels.NO_ITEM).all()
    assert set(got[1].tolist()) <= {0, 2}


@pytest.mark.parametrize("rows", [0, 3])
def test_nothing_to_do(rows):
    graph = random_graph(4, 5, 6)
    users = torch.zeros(rows, dtype=torch.int64)
    assert kernels.sample_negatives(graph.indptr, graph.indices, users, 4, 5, 0, 1, 0).shape == (rows, 0)
    assert kernels.ans_noise(1, rows, 0).shape == (rows, 0)
