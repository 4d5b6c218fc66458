"""BipartiteGraph against plain sets, and what it says to bad input."""

from __future__ import annotations

import pickle
import time
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ans_fast import BipartiteGraph
from ans_fast.errors import NoNegatives
from ans_fast.graph import _neighbours_on_device


@st.composite
def interactions(draw):
    n_users, n_items = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    pairs = draw(st.lists(st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1)), max_size=60))
    return pairs, n_users, n_items


@settings(max_examples=100, deadline=None)
@given(interactions())
def test_rows_are_the_sorted_neighbours(case):
    pairs, n_users, n_items = case
    graph = BipartiteGraph([u for u, _ in pairs], [i for _, i in pairs], n_users, n_items)
    neighbours = [sorted({n_users + i for v, i in pairs if v == u}) for u in range(n_users)]
    neighbours += [sorted({u for u, j in pairs if j == i}) for i in range(n_items)]
    indptr = graph.indptr.tolist()
    assert [graph.indices[a:b].tolist() for a, b in pairwise(indptr)] == neighbours
    assert graph.degrees.tolist() == [len(row) for row in neighbours]
    assert graph.n_edges == len(set(pairs))
    assert graph.n_nodes == n_users + n_items == len(indptr) - 1
    expected = [len(row) ** -0.5 if row else 0.0 for row in neighbours]
    torch.testing.assert_close(graph.scale, torch.tensor(expected), rtol=1e-7, atol=0)


@settings(max_examples=100, deadline=None)
@given(interactions())
def test_clicks_are_the_distinct_pairs_in_order(case):
    pairs, n_users, n_items = case
    clicks = BipartiteGraph([u for u, _ in pairs], [i for _, i in pairs], n_users, n_items).clicks()
    assert [ids.dtype for ids in clicks] == [torch.int64] * 2
    assert list(zip(*(ids.tolist() for ids in clicks), strict=True)) == sorted(set(pairs))


def test_dtypes_are_the_ones_the_kernels_take():
    graph = BipartiteGraph([0], [0], 1, 1)
    assert (graph.indptr.dtype, graph.indices.dtype) == (torch.int64, torch.int32)
    assert (graph.degrees.dtype, graph.scale.dtype) == (torch.int64, torch.float32)


@pytest.mark.parametrize("convert", [list, np.array, torch.tensor, lambda x: np.array(x, np.uint8)])
def test_takes_lists_numpy_and_torch(convert):
    graph = BipartiteGraph(convert([0, 1, 1]), convert([2, 0, 0]), 2, 3)
    assert graph.indices.tolist() == [4, 2, 1, 0]


def test_takes_strided_views():
    pairs = torch.tensor([[0, 2], [1, 0]])
    assert BipartiteGraph(pairs[:, 0], pairs[:, 1], 2, 3).indices.tolist() == [4, 2, 1, 0]


@pytest.mark.parametrize(
    ("users", "items", "error", "message"),
    [
        ([0, 5], [0, 0], ValueError, r"users must be in \[0, 5\), got 5 at position 1"),
        ([0, 0], [0, -1], ValueError, r"items must be in \[0, 7\), got -1 at position 1"),
        ([0, 1], [0], ValueError, "users and items must have one length, got 2 and 1"),
        ([0.0], [0], TypeError, "users must be integers, got float64"),
        ([True], [0], TypeError, "users must be integers, got bool"),
        ([[0]], [[0]], ValueError, r"users must be 1-D, got \[1, 1\]"),
    ],
)
def test_says_what_is_wrong(users, items, error, message):
    with pytest.raises(error, match=message):
        BipartiteGraph(users, items, 5, 7)


def test_sizes_must_fit_32_bits():
    with pytest.raises(ValueError, match="n_users and n_items must be"):
        BipartiteGraph([0], [0], 2**31, 1)


def test_without_pairs():
    graph = BipartiteGraph([], [], 3, 4)
    assert graph.n_edges == 0
    assert graph.scale.tolist() == [0.0] * 7


def test_moves_and_pickles():
    graph = BipartiteGraph([0, 1], [1, 0], 2, 2)
    assert graph.to("cpu") is graph
    assert graph.to("meta").device.type == "meta"
    assert graph.device.type == "cpu"
    again = pickle.loads(pickle.dumps(graph))
    assert torch.equal(again.indices, graph.indices)
    assert repr(again) == "BipartiteGraph(n_users=2, n_items=2, n_edges=2, device='cpu')"


@settings(max_examples=100, deadline=None)
@given(interactions(), st.integers(0, 3))
def test_finds_the_first_user_who_has_clicked_everything(case, first_item):
    pairs, n_users, n_items = case
    first_item = min(first_item, n_items)
    graph = BipartiteGraph([u for u, _ in pairs], [i for _, i in pairs], n_users, n_items)
    full = [u for u in range(n_users) if all((u, i) in pairs for i in range(first_item, n_items))]
    if not full:
        graph.check_negatives(first_item)
        return
    with pytest.raises(NoNegatives, match=f"user {full[0]} has clicked every item from {first_item} on") as error:
        graph.check_negatives(first_item)
    assert error.value.user == full[0]


def test_looks_for_such_users_without_reading_the_device():
    graph = BipartiteGraph([0, 0, 0, 1, 1], [1, 2, 3, 1, 2], 2, 5).to("meta")
    graph.check_negatives(1)
    with pytest.raises(RuntimeError, match="meta"):
        graph.check_negatives(2)  # three items, and user 0 has three clicks: these must be read


def test_a_million_pairs_are_quick_and_small():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 6040, 1_000_000), rng.integers(0, 3706, 1_000_000)
    BipartiteGraph(users[:10], items[:10], 6040, 3706)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        BipartiteGraph(users, items, 6040, 3706)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1
    tracemalloc.start()
    BipartiteGraph(users, items, 6040, 3706)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * (users.nbytes + items.nbytes)


@settings(max_examples=100, deadline=None)
@given(interactions())
def test_is_the_same_graph_where_it_is_built_by_sorting(case):
    pairs, n_users, n_items = case
    users, items = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).unbind(1)
    graph = BipartiteGraph(users, items, n_users, n_items)
    degrees, indices = _neighbours_on_device(users, items, n_users, n_items)
    assert (degrees.dtype, indices.dtype) == (torch.int64, torch.int32)
    assert torch.equal(degrees, graph.degrees)
    assert torch.equal(indices, graph.indices)


@pytest.mark.gpu
def test_is_built_on_the_gpu():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 50, 400), rng.integers(0, 80, 400)
    expected = BipartiteGraph(users, items, 50, 80)
    graph = BipartiteGraph(torch.from_numpy(users).cuda(), torch.from_numpy(items).cuda(), 50, 80)
    assert graph.device.type == "cuda"
    for name in ("indptr", "indices", "degrees", "scale"):
        assert torch.equal(getattr(graph, name).cpu(), getattr(expected, name))
