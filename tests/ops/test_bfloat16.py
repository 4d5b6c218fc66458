"""Rows of bfloat16 on the CPU: what the operators' cases leave out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import ans_fast
from ans_fast import ops
from tests.conftest import random_graph, run_at_simd_level
from tests.ops.test_ans_terms import FLOATS, inputs_of, run
from tests.ops.test_hardest_negatives import Case as HardestCase

FLOAT32, BFLOAT16 = 1e-5, 2.0**-8  # what results may be off by, of their norm
GRAPH = random_graph(60, 70, 700)


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def assert_close(got: Tensor, want: Tensor, tolerance: float) -> None:
    assert got.shape == want.shape
    assert (got.double() - want).norm() <= tolerance * want.norm() + 1e-12


def check_rounding() -> None:
    """A user and an item get each other's row, whole: their means are rounded once, and by torch's rule."""
    graph = ans_fast.BipartiteGraph([0], [0], 1, 1)
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e-40, 3.3895e38, 1.0, -1.0, 255.0])
    many = torch.cat([special, torch.randn(100), torch.randn(100) * 1e-38]).bfloat16()
    x = torch.stack([many, many.roll(1)])
    want = (x[0].float() * 0.5 + x[1].float() * 0.5).bfloat16()
    got = ops.propagate_mean(x, graph, 1)
    for row in got:
        assert torch.equal(row.isnan(), want.isnan())
        assert torch.equal(row.nan_to_num(7), want.nan_to_num(7))
    assert torch.equal(ops.propagate(x, graph, 1)[:, 1].nan_to_num(7), x.flip(0).nan_to_num(7))


def check_propagate(dim: int, n_layers: int, nodes: Tensor | None) -> None:
    """Where degrees are alike, hops that are rounded one after the other are off by no more than a number is."""
    for operator in (ops.propagate, ops.propagate_mean):
        x = rows(GRAPH.n_nodes, dim).requires_grad_()
        wide = x.detach().double().requires_grad_()
        got, want = operator(x, GRAPH, n_layers, nodes), operator(wide, GRAPH, n_layers, nodes)
        assert got.dtype == torch.bfloat16
        assert_close(got, want, BFLOAT16)
        grad = rows(*got.shape, seed=1)
        got.backward(grad)
        want.backward(grad.double())
        assert x.grad.dtype == torch.bfloat16
        assert_close(x.grad, wide.grad, BFLOAT16)


def check_short_hops(dim: int, n_layers: int, nodes: Tensor | None) -> None:
    """What goes in, comes out and is the gradient has all of float32's digits: without a hop they are the very rows."""
    x = torch.randn(GRAPH.n_nodes, dim, generator=torch.Generator().manual_seed(0)).requires_grad_()
    wide = x.detach().double().requires_grad_()
    got, want = ops.propagate_mean(x, GRAPH, n_layers, nodes, True), ops.propagate_mean(wide, GRAPH, n_layers, nodes)
    got.backward(rows(*got.shape, seed=1).float())
    want.backward(rows(*got.shape, seed=1).double())
    assert got.dtype == torch.float32
    for mine, expected in ((got, want), (x.grad, wide.grad)):
        assert_close(mine.detach(), expected.detach(), BFLOAT16 if n_layers else FLOAT32)
    if n_layers == 0:
        assert torch.equal(got, x if nodes is None else x[nodes])


def check_all() -> None:
    check_rounding()
    for dim in (1, 7, 16, 33, 64, 100, 256):
        for n_layers in (0, 1, 3):
            for nodes in (None, torch.tensor([7, 100, 7, 7, 2]), torch.arange(GRAPH.n_nodes).repeat(3)):
                check_propagate(dim, n_layers, nodes)
                check_short_hops(dim, n_layers, nodes)


@pytest.mark.parametrize("level", ["baseline", "avx2", "avx512"])
def test_rounding_of_hops(level):
    run_at_simd_level(level, "from tests.ops import test_bfloat16; test_bfloat16.check_all()")


def test_the_reference_sums_in_float32_as_kernels_do():
    inputs = inputs_of(7, 3, 2, 16, dtype=torch.bfloat16)
    got, want = run(inputs)[0], run(inputs, "reference")[0]
    assert torch.equal(got.selected, want.selected)
    for term, expected in zip(got[:4], want[:4], strict=True):
        assert expected.dtype == torch.float32
        assert_close(term.detach(), expected.detach(), FLOAT32)
    x = rows(GRAPH.n_nodes, 16)
    for operator in (ops.propagate, ops.propagate_mean):
        with ans_fast.backend("reference"):
            expected = operator(x, GRAPH, 2)
        assert expected.dtype == torch.bfloat16
        assert_close(operator(x, GRAPH, 2), expected.double(), BFLOAT16)
    scored = HardestCase(20, 2, 5, 3, 16, gates=True, dtype=torch.bfloat16)
    assert torch.equal(scored.run(), scored.run("reference"))


def test_the_same_bits_at_any_number_of_threads(threads):
    big, nodes = random_graph(300, 400, 9000), torch.arange(700).repeat(2)
    results = []
    for n in (1, 2, 5):
        threads(n)
        terms, gradients = run(inputs_of(300, 9, 4, 64, ragged=True, dtype=torch.bfloat16))
        x = rows(700, 100).requires_grad_()
        mean = ops.propagate_mean(x, big, 3, nodes)
        mean.backward(mean.detach())
        wide = x.detach().float().requires_grad_()
        of_wide = ops.propagate_mean(wide, big, 3, nodes, True)
        of_wide.backward(of_wide.detach())
        results.append([*terms, *gradients, mean, x.grad, of_wide, wide.grad])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_row_that_is_wanted_often_has_its_gradients_summed_in_float32():
    """In bfloat16 a sum of ones would stay at 256."""
    x = rows(GRAPH.n_nodes, 8).requires_grad_()
    ops.propagate(x, GRAPH, 0, torch.full((1000,), 7)).sum().backward()
    assert (x.grad[7] == 1000).all()


def test_gradients_of_ans_terms_are_those_of_float32_rounded_once():
    short = inputs_of(40, 5, 3, 33, ragged=True, dtype=torch.bfloat16)
    wide = short | {name: short[name].float() for name in FLOATS}
    for got, want in zip(run(short)[1], run(wide)[1], strict=True):
        assert torch.equal(got, want.bfloat16())


def test_short_hops_are_rounded_once_a_hop():
    """One edge: each mean is half of the own row, with all its digits, and half of the other's, rounded."""
    graph = ans_fast.BipartiteGraph([0], [0], 1, 1)
    x = torch.randn(2, 100, generator=torch.Generator().manual_seed(0))
    want = (x + x.flip(0).bfloat16().float()) * 0.5
    assert torch.equal(ops.propagate_mean(x, graph, 1, None, True), want)


def test_short_hops_are_those_of_float32():
    graph, parts = GRAPH, (GRAPH.indptr, GRAPH.indices, GRAPH.scale)
    x = torch.randn(graph.n_nodes, 8, requires_grad=True)
    for nodes in (None, torch.tensor([9, 2, 9])):
        torch.library.opcheck(torch.ops.ans_fast.propagate_mean, (x, *parts, 2, nodes, True, False))
    with pytest.raises(TypeError, match="x must be float32 with short_hops, got float64"):
        ops.propagate_mean(x.double(), graph, 2, None, True)
    with pytest.raises(ValueError, match="x must be float32 with short_hops"):
        torch.ops.ans_fast.propagate_mean(x.bfloat16(), *parts, 2, None, True, False)


def test_opcheck_and_mixed_dtypes():
    x = rows(GRAPH.n_nodes, 8).requires_grad_()
    torch.library.opcheck(torch.ops.ans_fast.propagate, (x, GRAPH.indptr, GRAPH.indices, GRAPH.scale, 2, None))
    inputs = inputs_of(5, 3, 2, 8, ragged=True, dtype=torch.bfloat16) | {"seed": torch.tensor([1])}
    inputs["item_gate"] = inputs["item_gate"].float()
    with pytest.raises(TypeError, match="item_gate must be bfloat16, got float32"):
        run(inputs)
    with pytest.raises(ValueError, match="item_gate must be of user_hops's dtype"):
        torch.ops.ans_fast.ans_terms_forward(*inputs.values())
