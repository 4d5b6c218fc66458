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


def assert_close(got: torch.Tensor, want: torch.Tensor, stored: torch.dtype | None = None) -> None:
    """Equal to the rounding of rows that were `stored` in a dtype in between; None: got's."""
    assert got.isfinite().all()
    assert got.shape == want.shape
    assert (got.double() - want).norm() <= TOLERANCE[stored or got.dtype] * want.norm()


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


def nodes_of(n: int) -> dict[str, list[int]]:
    """Some of n nodes: none, one, both ends, all the same, many of them repeatedly."""
    return {
        "none": [],
        "one": [n // 2],
        "both ends": [n - 1, 0],
        "all the same": [n - 1] * 70,
        "many": torch.randint(n, (2 * n // 3,), generator=torch.Generator().manual_seed(n)).tolist(),
    }


@pytest.mark.parametrize("which", nodes_of(2))
@pytest.mark.parametrize("layers", [0, 1, 2, 3])
@pytest.mark.parametrize("graph", ["random", "star"])
def test_some_nodes(graph, layers, which):
    graph = GRAPHS[graph]
    n, dim = graph.n_nodes, 7 if layers == 1 else 64
    nodes = torch.tensor(nodes_of(n)[which], dtype=torch.int64)
    generator = torch.Generator().manual_seed(layers)
    x = torch.randn(n, dim, generator=generator)
    grad, grad_mean = (torch.randn(len(nodes), *shape, generator=generator) for shape in ((layers + 1, dim), (dim,)))
    exact = x.double().requires_grad_()
    want = reference.propagate(exact, graph, layers)[nodes]
    assert_close(kernels.propagate(x, *parts(graph), layers, nodes=nodes), want)
    assert_close(kernels.propagate_mean(x, *parts(graph), layers, nodes=nodes), want.mean(1))
    (of_hops,) = torch.autograd.grad(want, exact, grad.double(), retain_graph=True)
    assert_close(kernels.propagate_backward(grad, *parts(graph), nodes=nodes), of_hops)
    (of_mean,) = torch.autograd.grad(want.mean(1), exact, grad_mean.double())
    assert_close(kernels.propagate_mean(grad_mean, *parts(graph), layers, nodes=nodes, transposed=True), of_mean)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_rows_of_some_nodes(dtype):
    graph, nodes = GRAPHS["star"], torch.tensor([3, 0, 3, 900])
    grad = torch.randn(4, 2, 104, generator=torch.Generator().manual_seed(0)).to(dtype)
    summed = torch.zeros(graph.n_nodes, 2, 104, dtype=torch.float64).index_add(0, nodes, grad.double())
    want = summed[:, 0] + reference.propagate(summed[:, 1], graph, 1)[:, 1]
    assert_close(kernels.propagate_backward(grad, *parts(graph), nodes=nodes), want)


@pytest.mark.parametrize("node", [GRAPHS["random"].n_nodes, -1, 2**62])
def test_nodes_out_of_range_give_nan_and_no_crash(node):
    graph = GRAPHS["random"]
    nodes = torch.tensor([4, node, 4])
    got = kernels.propagate(torch.ones(graph.n_nodes, 64), *parts(graph), 2, nodes=nodes)
    assert got[1].isnan().all()
    assert got[[0, 2]].isfinite().all()
    gradient = kernels.propagate_backward(torch.ones(3, 3, 64), *parts(graph), nodes=nodes)
    others = torch.tensor([4, 4])
    assert torch.equal(gradient, kernels.propagate_backward(torch.ones(2, 3, 64), *parts(graph), nodes=others))


@pytest.mark.parametrize("dim", [8, 20, 64, 100, 300])
@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_short_hops_between_rows_of_float32(dim, layers):
    graph, nodes = GRAPHS["star"], torch.tensor([3, 0, 3, 900])
    rng, stored = torch.Generator().manual_seed(dim), torch.bfloat16 if layers else torch.float32
    x, grad = torch.randn(graph.n_nodes, dim, generator=rng), torch.randn(4, dim, generator=rng)
    exact = x.double().requires_grad_()
    want = reference.propagate(exact, graph, layers).mean(1)
    for some in (None, nodes):
        got = kernels.propagate_mean(x, *parts(graph), layers, nodes=some, short_hops=True)
        assert got.dtype == torch.float32
        assert_close(got, (want if some is None else want[some]).detach(), stored)
    want[nodes].backward(grad.double())
    got = kernels.propagate_mean(grad, *parts(graph), layers, nodes=nodes, short_hops=True, transposed=True)
    assert_close(got, exact.grad, stored)
