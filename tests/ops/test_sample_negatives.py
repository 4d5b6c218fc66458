"""sample_negatives: never a positive, uniform, and clear about what cannot be drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ans_fast
from ans_fast import BipartiteGraph, ops
from tests.conftest import random_graph


def test_a_seed_counts_by_its_64_bits():
    graph, users = random_graph(50, 80, 900), torch.arange(50)
    drawn = ops.sample_negatives(graph, users, 4, -5)
    assert torch.equal(drawn, ops.sample_negatives(graph, users, 4, 2**64 - 5))
    with ans_fast.backend("reference"):
        assert torch.equal(drawn, ops.sample_negatives(graph, users, 4, 2**64 - 5))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 30),
    st.integers(0, 3),
    st.sets(st.tuples(st.integers(0, 4), st.integers(0, 29)), max_size=80),
    st.integers(0, 2**63 - 1),
)
def test_draws_only_what_is_allowed(n_items, first_item, pairs, seed):
    first_item = min(first_item, n_items - 1)
    pairs = [(u, i) for u, i in pairs if i < n_items]
    graph = BipartiteGraph([u for u, _ in pairs], [i for _, i in pairs], 5, n_items)
    allowed = [set(range(first_item, n_items)) - {i for v, i in pairs if v == u} for u in range(5)]
    users = torch.tensor([u for u in range(5) if allowed[u]] * 3, dtype=torch.int64)
    drawn = ops.sample_negatives(graph, users, 9, seed, first_item)
    assert all(set(row) <= allowed[u] for u, row in zip(users.tolist(), drawn.tolist(), strict=True))


def test_draws_are_uniform():
    graph = BipartiteGraph([0] * 6, [0, 3, 4, 5, 11, 19], 1, 20)
    drawn = ops.sample_negatives(graph, torch.zeros(4000, dtype=torch.int64), 35, seed=3)
    counts = np.bincount(drawn.flatten(), minlength=20)
    allowed = counts[[1, 2, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18]]
    assert allowed.sum() == 140_000
    chi_square = ((allowed - 10_000) ** 2 / 10_000).sum()
    assert 2 < chi_square < 36  # 13 degrees of freedom: outside in one case of a thousand


def test_same_draws_at_any_number_of_threads(threads):
    graph = random_graph(500, 300, 20_000)
    users = torch.randint(0, 500, (5000,))
    draws = []
    for n in (1, 2, 4):
        threads(n)
        draws.append(ops.sample_negatives(graph, users, 7, seed=1))
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], draws[2])


def test_torch_manual_seed_reproduces_a_run():
    graph, users = random_graph(50, 80, 700), torch.arange(40)
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append((ops.sample_negatives(graph, users, 5), ops.sample_negatives(graph, users, 5)))
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])
    assert not torch.equal(runs[0][0], runs[0][1])
    assert not torch.equal(runs[0][0], runs[2][0])


def test_takes_a_seed_tensor_and_views():
    graph = random_graph(50, 80, 700)
    users = torch.arange(40).repeat(2, 1).t()[:, 0]
    expected = ops.sample_negatives(graph, users.contiguous(), 5, seed=9)
    assert torch.equal(ops.sample_negatives(graph, users, 5, torch.tensor(9)), expected)


@pytest.mark.parametrize("name", ["fused", "reference"])
def test_nothing_to_do(name):
    graph, none = random_graph(50, 80, 700), torch.zeros(0, dtype=torch.int64)
    with ans_fast.backend(name):
        assert ops.sample_negatives(graph, none, 5).shape == (0, 5)
        assert ops.sample_negatives(graph, torch.arange(3), 0).shape == (3, 0)


@pytest.mark.parametrize("name", ["fused", "reference"])
def test_names_the_user_who_has_clicked_everything(name):
    graph = BipartiteGraph([0, 1, 1], [2, 1, 2], 2, 3)
    with ans_fast.backend(name):
        assert ops.sample_negatives(graph, torch.tensor([1]), 4).tolist() == [[0] * 4]
        with pytest.raises(ValueError, match=r"user 1 .*has clicked every item"):
            ops.sample_negatives(graph, torch.tensor([0, 1]), 4, first_item=1)


@pytest.mark.parametrize("name", ["fused", "reference"])
@pytest.mark.parametrize(
    ("users", "options", "error", "message"),
    [
        (torch.tensor([1, 50]), {}, ValueError, r"users must be in \[0, 50\), got 50 at position 1"),
        (torch.tensor([-1, 0]), {}, ValueError, r"users must be in \[0, 50\), got -1 at position 0"),
        (torch.tensor([[1]]), {}, ValueError, r"users must be \[B\], got \[1, 1\]"),
        (torch.tensor([1.0]), {}, TypeError, "users must be int64, got float32"),
        (torch.tensor([1]), {"n_negatives": -1}, ValueError, "n_negatives must be at least 0, got -1"),
        (torch.tensor([1]), {"first_item": 81}, ValueError, r"first_item must be in \[0, 80\], got 81"),
        (torch.tensor([1]), {"seed": 0.5}, TypeError, "seed must be an int, an int64 tensor or None, got float"),
        (torch.tensor([1]), {"seed": torch.ones(1)}, TypeError, "seed must be int64, got float32"),
        (
            torch.tensor([1]),
            {"seed": torch.ones(1, dtype=torch.int64, device="meta")},
            ValueError,
            "seed must be on the CPU, got meta",
        ),
        (torch.tensor([1]), {"seed": torch.tensor([1, 2])}, ValueError, r"seed must have one element, got \[2\]"),
    ],
)
def test_says_what_is_wrong(name, users, options, error, message):
    graph = random_graph(50, 80, 700)
    with ans_fast.backend(name), pytest.raises(error, match=message):
        ops.sample_negatives(graph, users, **{"n_negatives": 3, **options})


def test_a_broken_graph_is_an_error_not_a_crash():
    graph = random_graph(50, 80, 700)
    seed, users = torch.tensor([1]), torch.arange(50)
    with pytest.raises(ValueError, match="indptr must ascend"):
        torch.ops.ans_fast.sample_negatives(graph.indptr * 1000, graph.indices, users, 50, 80, 3, seed, 0)


def test_opcheck():
    graph = random_graph(50, 80, 700)
    args = (graph.indptr, graph.indices, torch.arange(9), 50, 80, 3, torch.tensor([1]), 0)
    torch.library.opcheck(torch.ops.ans_fast.sample_negatives, args)


@pytest.mark.compiles
def test_compiles_whole():
    graph, users = random_graph(50, 80, 700), torch.arange(40)
    compiled = torch.compile(lambda u: ops.sample_negatives(graph, u, 3, seed=4), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(users), ops.sample_negatives(graph, users, 3, seed=4))
