"""propagate.cu on the CPU: what the operators' cases leave out."""

from __future__ import annotations

import pytest
import torch

from ans_fast import BipartiteGraph, reference
from tests.ops.cases import GRAPHS, error_of
from tests.simt import kernels


def parts(graph: BipartiteGraph) -> tuple[torch.Tensor, ...]:
    return graph.indptr, graph.indices, graph.scale


@pytest.fixture(params=["ascending", "descending", "shuffled"])
def order(request):
    with kernels.in_order(["ascending", "descending", "shuffled"].index(request.param)):
        yield


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
    want = reference.propagate(x.double(), graph, 2)
    assert (got.double() - want).norm() <= 1e-6 * want.norm()


@pytest.mark.parametrize("node", [GRAPHS["random"].n_nodes, -1, 2**31 - 1, -(2**31)])
def test_a_broken_graph_gives_nan_and_no_crash(node):
    graph, edge = GRAPHS["random"], 5
    indices = graph.indices.clone()
    indices[edge] = node
    got = kernels.propagate(torch.ones(graph.n_nodes, 64), graph.indptr, indices, graph.scale, 1)
    of_edge = (graph.indptr[:-1] <= edge) & (edge < graph.indptr[1:])
    assert torch.equal(got[:, 1].isnan(), of_edge[:, None].expand(-1, 64))


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
    rng, most = torch.Generator().manual_seed(dim), 2e-2 if layers else 1e-6
    x, grad = torch.randn(graph.n_nodes, dim, generator=rng), torch.randn(4, dim, generator=rng)
    exact = x.double().requires_grad_()
    want = reference.propagate(exact, graph, layers).mean(1)
    for some in (None, nodes):
        got = kernels.propagate_mean(x, *parts(graph), layers, nodes=some, short_hops=True)
        assert got.dtype == torch.float32
        assert error_of(got, (want if some is None else want[some]).detach()) <= most
    want[nodes].backward(grad.double())
    got = kernels.propagate_mean(grad, *parts(graph), layers, nodes=nodes, short_hops=True, transposed=True)
    assert error_of(got, exact.grad) <= most
