"""propagate and propagate_mean: what the operators' cases leave out, and everything torch expects of an operator."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

import ans_fast
from ans_fast import BipartiteGraph, ops
from tests.conftest import ROOT, random_graph


def reference_of(function, x, graph, n_layers):
    with ans_fast.backend("reference"):
        return function(x, graph, n_layers)


@pytest.mark.parametrize("function", [ops.propagate, ops.propagate_mean])
@pytest.mark.parametrize("n_layers", [0, 1, 2, 3])
@pytest.mark.parametrize("nodes", [[], [0], [129], [3, 4, 60, 128], [7, 129, 7, 7, 2], [5] * 300, list(range(130))])
@pytest.mark.parametrize("dim", [1, 20, 64])
def test_some_nodes_are_rows_of_all(function, n_layers, nodes, dim):
    graph, nodes = random_graph(50, 80, 300), torch.tensor(nodes, dtype=torch.int64)
    x = torch.randn(130, dim, dtype=torch.float64, requires_grad=True)
    expected = function(x, graph, n_layers).index_select(0, nodes)
    out = function(x, graph, n_layers, nodes)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-14)
    weight = torch.randn_like(out)
    grads = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (out, expected)]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-13)
    torch.testing.assert_close(reference_of(function, x, graph, n_layers).index_select(0, nodes), out)


@pytest.mark.parametrize("function", [ops.propagate, ops.propagate_mean])
@pytest.mark.parametrize("nodes", [[130], [4, -1]])
def test_nodes_in_range(function, nodes):
    with pytest.raises((RuntimeError, ValueError), match=r"nodes must be in \[0, 130\), got (130|-1) at position \d"):
        function(torch.ones(130, 4), random_graph(50, 80, 70), 2, torch.tensor(nodes))


def test_hops_by_hand():
    graph = BipartiteGraph([0, 0], [0, 1], 1, 3)  # one user with two items; the third item has no edge
    x = torch.tensor([[1.0], [10.0], [100.0], [1000.0]])
    half = 2**-0.5
    expected = torch.tensor([[1, 110 * half, 1], [10, half, 55], [100, half, 55], [1000, 0, 0]])
    torch.testing.assert_close(ops.propagate(x, graph, 2)[:, :, 0], expected)
    torch.testing.assert_close(ops.propagate_mean(x, graph, 2)[:, 0], expected.mean(1))


@pytest.mark.parametrize("function", [ops.propagate, ops.propagate_mean])
def test_nothing_to_do(function):
    assert function(torch.ones(0, 4), BipartiteGraph([], [], 0, 0), 2).shape[0] == 0
    assert function(torch.empty(0, 2**40), BipartiteGraph([], [], 0, 0), 2).shape[-1] == 2**40
    assert function(torch.ones(130, 0), random_graph(50, 80, 70), 2).numel() == 0
    assert function(torch.ones(7, 3), BipartiteGraph([], [], 3, 4), 2).isfinite().all()


def test_nan_stays_nan():
    graph = BipartiteGraph([0], [0], 1, 1)
    assert ops.propagate(torch.tensor([[1.0], [float("nan")]]), graph, 1)[0, 1].isnan().all()


@pytest.mark.parametrize("function", [ops.propagate, ops.propagate_mean])
@pytest.mark.parametrize("some", [False, True])
def test_same_bits_at_any_number_of_threads(function, some, threads):
    graph = random_graph(500, 300, 20_000)
    results, nodes = [], torch.randint(0, 800, (5000,)) if some else None
    for n in (1, 2, 4):
        threads(n)
        x = torch.randn(800, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        out = function(x, graph, 3, nodes)
        out.backward(out.detach())
        results.append((out.detach(), x.grad))
    for out, grad in results[1:]:
        assert torch.equal(out, results[0][0])
        assert torch.equal(grad, results[0][1])


@pytest.mark.parametrize("function", [ops.propagate, ops.propagate_mean])
def test_gradcheck(function):
    graph = random_graph(5, 6, 15)
    x = torch.randn(11, 3, dtype=torch.float64, requires_grad=True)
    for nodes in (None, torch.tensor([2, 3, 9]), torch.tensor([9, 2, 9])):
        assert torch.autograd.gradcheck(lambda x, nodes=nodes: function(x, graph, 2, nodes), x)
        assert torch.autograd.gradgradcheck(lambda x, nodes=nodes: function(x, graph, 2, nodes), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opcheck(dtype):
    graph = random_graph(5, 6, 15)
    tensors = (graph.indptr, graph.indices, graph.scale)
    x = torch.randn(11, 3, dtype=dtype, requires_grad=True)
    grad = torch.randn(11, 3, 3, dtype=dtype, requires_grad=True)
    some = torch.tensor([9, 2, 9])
    for nodes in (None, some):
        torch.library.opcheck(torch.ops.ans_fast.propagate, (x, *tensors, 2, nodes))
        torch.library.opcheck(torch.ops.ans_fast.propagate_mean, (x, *tensors, 2, nodes, False, False))
    torch.library.opcheck(torch.ops.ans_fast.propagate_mean, (x[:3], *tensors, 2, some, False, True))
    torch.library.opcheck(torch.ops.ans_fast.propagate_backward, (grad, *tensors, None))
    torch.library.opcheck(torch.ops.ans_fast.propagate_backward, (grad[:3], *tensors, some))


@pytest.mark.compiles
@pytest.mark.parametrize("function", [ops.propagate, ops.propagate_mean])
def test_compiles_whole(function):
    graph = random_graph(50, 80, 700)
    loss = lambda x: function(x, graph, 2).sin().sum()  # noqa: E731
    eager, compiled = (torch.randn(130, 16, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    loss(eager.requires_grad_()).backward()
    torch.compile(loss, fullgraph=True, backend="aot_eager")(compiled.requires_grad_()).backward()
    torch.testing.assert_close(compiled.grad, eager.grad)


def test_takes_views():
    graph = random_graph(50, 80, 700)
    x = torch.randn(16, 130).t()
    out = ops.propagate(x, graph, 2)
    assert out.is_contiguous()
    assert torch.equal(out, ops.propagate(x.contiguous(), graph, 2))


@pytest.mark.parametrize("name", ["fused", "reference"])
@pytest.mark.parametrize(
    ("make", "n_layers", "error", "message"),
    [
        (lambda: torch.ones(129, 4), 1, ValueError, r"x must be \[N = 130, D\], got \[129, 4\]"),
        (lambda: torch.ones(130), 1, ValueError, r"x must be \[N = 130, D\], got \[130\]"),
        (
            lambda: torch.ones(130, 4, dtype=torch.int64),
            1,
            TypeError,
            "x must be float32 or float64 or bfloat16, got int64",
        ),
        (lambda: torch.ones(130, 4), -1, ValueError, "n_layers must be at least 0, got -1"),
        (lambda: torch.ones(130, 4, device="meta"), 1, ValueError, "graph must be on x's device meta, got cpu"),
        (lambda: [[1.0]], 1, TypeError, "x must be a tensor"),
    ],
)
def test_says_what_is_wrong(name, make, n_layers, error, message):
    with ans_fast.backend(name), pytest.raises(error, match=message):
        ops.propagate(make(), random_graph(50, 80, 70), n_layers)


def test_a_broken_graph_is_an_error_not_a_crash():
    graph = random_graph(50, 80, 70)
    x = torch.ones(130, 4)
    call = torch.ops.ans_fast.propagate
    for indices in (graph.indices + 100, graph.indices - 130, graph.indices.flip(0)):
        with pytest.raises(ValueError, match=r"indices in \[0, 130\) lead from users to items and back"):
            call(x, graph.indptr, indices, graph.scale, 2, None)
    for indptr in (graph.indptr + 1, graph.indptr - 1, graph.indptr.flip(0), graph.indptr * 1000):
        with pytest.raises(ValueError, match="indptr must ascend"):
            call(x, indptr.contiguous(), graph.indices, graph.scale, 2, None)
    with pytest.raises(ValueError, match=r"indptr must be \[N \+ 1\], got \[130\]"):
        call(x, graph.indptr[:-1], graph.indices, graph.scale, 2, None)
    with pytest.raises(ValueError, match="indices must be int32"):
        call(x, graph.indptr, graph.indices.long(), graph.scale, 2, None)


# The first edge is a user's, who leads to 50 … 129; the last an item's, which leads to 0 … 49.
@pytest.mark.parametrize(("edge", "node"), [(0, 0), (0, 49), (0, 130), (0, -1), (-1, -1), (-1, 50), (-1, -(1 << 31))])
def test_an_index_just_outside_is_an_error(edge, node):
    graph = BipartiteGraph(torch.arange(80) % 50, torch.arange(80), 50, 80)
    graph.indices[edge] = node
    with pytest.raises(ValueError, match=r"indices in \[0, 130\) lead from users to items and back"):
        torch.ops.ans_fast.propagate(torch.ones(130, 4), graph.indptr, graph.indices, graph.scale, 2, None)


def test_a_broken_graph_is_an_error_with_fewer_threads_than_asked_for():
    code = """if True:
        import torch
        from ans_fast import BipartiteGraph, ops
        torch.set_num_threads(4)
        graph = BipartiteGraph(torch.arange(80_000) % 2000, torch.arange(80_000) * 13 % 2000, 2000, 2000)
        graph.indices[0] = 0
        try:
            ops.propagate(torch.ones(4000, 64), graph, 2)
        except ValueError:
            raise SystemExit(42)"""
    environment = os.environ | {"OMP_THREAD_LIMIT": "1"}
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment).returncode == 42


def test_an_unknown_simd_level_is_an_error():
    code = "import ans_fast; ans_fast.build_info()"
    environment = {**os.environ, "ANS_FAST_SIMD": "mmx"}
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert "ANS_FAST_SIMD must be baseline, avx2 or avx512, got mmx" in finished.stderr


def test_backend_names_are_checked():
    with (
        pytest.raises(ValueError, match="backend must be one of fused, reference, got 'numpy'"),
        ans_fast.backend("numpy"),
    ):
        pass
