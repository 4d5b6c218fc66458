"""propagate.cu on the CPU, against the float64 reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ans_fast
from ans_fast import reference
from tests.conftest import random_graph
from tests.simt import kernels

TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 2e-2, torch.float16: 2e-3}


def parts(graph: ans_fast.BipartiteGraph) -> tuple[torch.Tensor, ...]:
    return graph.indptr, graph.indices, graph.scale


def star(n_items: int) -> ans_fast.BipartiteGraph:
    """One user who clicked everything, and many rows of one edge or none."""
    return ans_fast.BipartiteGraph(np.zeros(n_items, int), np.arange(n_items), 3, n_items + 2)


def assert_close(got: torch.Tensor, want: torch.Tensor) -> None:
    assert got.isfinite().all()
    assert (got.double() - want).norm() <= TOLERANCE[got.dtype] * want.norm()


@pytest.fixture(params=["ascending", "descending", "shuffled"])
def order(request):
    with kernels.in_order(["ascending", "descending", "shuffled"].index(request.param)):
        yield


GRAPHS = {
    "random": random_graph(20, 30, 300),
    "star": star(900),  # its first row crosses dozens of chunks
    "sparse": random_graph(200, 300, 90),
    "no edges": ans_fast.BipartiteGraph(np.zeros(0, int), np.zeros(0, int), 5, 6),
}


@pytest.mark.parametrize("dim", [1, 7, 32, 64, 100, 128, 256, 300, 512])
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_hops_and_their_gradient(graph, dim):
    torch.manual_seed(dim)
    n, layers = graph.n_nodes, 2 if dim > 200 else 3
    x = torch.randn(n, dim, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(n, layers + 1, dim)
    want = reference.propagate(x, graph, layers)
    want.backward(grad.double())
    assert_close(kernels.propagate(x.detach().float(), *parts(graph), layers), want.detach())
    assert_close(kernels.propagate_backward(grad, *parts(graph)), x.grad)
    assert_close(kernels.propagate_mean(x.detach().float(), *parts(graph), layers), want.detach().mean(1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dim", [5, 32, 64, 104, 128, 256, 260, 512])
def test_short_rows(dtype, dim):
    graph = GRAPHS["star"]
    torch.manual_seed(dim)
    x = torch.randn(graph.n_nodes, dim).to(dtype)
    grad = torch.randn(graph.n_nodes, 2, dim).to(dtype)
    assert_close(kernels.propagate(x, *parts(graph), 2), reference.propagate(x.double(), graph, 2))
    want = grad[:, 0].double() + reference.propagate(grad[:, 1].double(), graph, 1)[:, 1]
    assert_close(kernels.propagate_backward(grad, *parts(graph)), want)


def test_the_same_bits_in_any_order_of_threads_and_blocks(order):
    graph = GRAPHS["star"]
    x = torch.randn(graph.n_nodes, 64, generator=torch.Generator().manual_seed(0))
    kernels.library().set_multiprocessors(1)  # longer chunks
    try:
        got = kernels.propagate(x, *parts(graph), 2)
    finally:
        kernels.library().set_multiprocessors(2)
    kernels.library().set_order(0)
    kernels.library().set_multiprocessors(1)
    try:
        assert torch.equal(got, kernels.propagate(x, *parts(graph), 2))
    finally:
        kernels.library().set_multiprocessors(2)
    assert_close(got, reference.propagate(x.double(), graph, 2))


@pytest.mark.parametrize("node", [GRAPHS["random"].n_nodes, -1, 2**31 - 1, -(2**31)])
def test_a_broken_graph_gives_nan_and_no_crash(node):
    graph, edge = GRAPHS["random"], 5
    indices = graph.indices.clone()
    indices[edge] = node
    got = kernels.propagate(torch.ones(graph.n_nodes, 64), graph.indptr, indices, graph.scale, 1)
    of_edge = (graph.indptr[:-1] <= edge) & (edge < graph.indptr[1:])
    assert torch.equal(got[:, 1].isnan(), of_edge[:, None].expand(-1, 64))
