"""Derivatives beyond the first backward pass: right, or an error; never zeros without a word."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

import ans_fast
from ans_fast import ops
from tests.conftest import random_graph
from tests.ops.cases import ans_case
from tests.ops.test_gru_states import Case as GruCase

GRAPH = random_graph(5, 6, 15)


def ans_terms() -> tuple:
    case = ans_case(3, 2, 2, 3, ragged=True)

    def function(*floats: Tensor) -> Tensor:
        return sum(ops.ans_terms(**case.inputs | dict(zip(case.by, floats, strict=True)))[:4])

    return function, [case.inputs[name] for name in case.by]


def gru_states() -> tuple:
    case = GruCase([4, 3, 3, 1, 0], 2, 3)
    tables = [tensor.detach() for tensor in case.floats]
    return lambda table, *rest: ops.gru_states(table, case.ids, case.sizes, 5, *rest).square().sum(), tables


NONLINEAR = pytest.mark.parametrize("make", [ans_terms, gru_states])
LINEAR = pytest.mark.parametrize("function", [ops.propagate, ops.propagate_mean])


def hops(function, nodes: Tensor | None):
    """A linear operator, and the same as a product with a matrix that torch differentiates."""
    matrix = function(torch.eye(11, dtype=torch.float64), GRAPH, 2, nodes)
    return (
        lambda x: function(x, GRAPH, 2, nodes) ** 3,
        lambda x: torch.einsum("...n,nd->...d", matrix, x) ** 3,
    )


def double(seed: int) -> Tensor:
    return torch.randn(11, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@NONLINEAR
def test_a_second_backward_pass_is_an_error(make):
    function, tensors = make()
    leaves = [tensor.requires_grad_() for tensor in tensors]
    gradients = torch.autograd.grad(function(*leaves), leaves, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"has first derivatives alone.* use ans_fast.backend\('reference'\)"):
        sum(gradient.square().sum() for gradient in gradients).backward()


@NONLINEAR
def test_the_reference_has_second_derivatives(make):
    function, tensors = make()
    with ans_fast.backend("reference"):
        assert torch.autograd.gradgradcheck(function, [tensor.requires_grad_() for tensor in tensors])


@NONLINEAR
@pytest.mark.parametrize("which", [0, 2, -1])
def test_forward_mode_is_an_error(make, which):
    function, tensors = make()
    tensors = [tensor.detach() for tensor in tensors]
    with forward_ad.dual_level():
        tensors[which] = forward_ad.make_dual(tensors[which], torch.ones_like(tensors[which]))
        with pytest.raises(NotImplementedError, match="has no forward-mode derivative"):
            function(*tensors)


@NONLINEAR
def test_torch_func_is_an_error(make):
    function, tensors = make()
    tensors = [tensor.detach() for tensor in tensors]
    with pytest.raises(NotImplementedError, match="has no forward-mode derivative"):
        torch.func.jvp(function, tuple(tensors), tuple(map(torch.ones_like, tensors)))
    with pytest.raises(RuntimeError):
        torch.func.grad(function)(*tensors)


@NONLINEAR
def test_forward_mode_by_something_else_is_left_alone(make):
    function, tensors = make()
    tensors = [tensor.detach() for tensor in tensors]
    x = torch.tensor(2.0, dtype=torch.float64)
    value, tangent = torch.func.jvp(lambda x: x.square() * function(*tensors), (x,), (torch.ones_like(x),))
    torch.testing.assert_close((value, tangent), (4 * function(*tensors), 4 * function(*tensors)))


@LINEAR
@pytest.mark.parametrize("nodes", [None, torch.tensor([9, 2, 9])])
def test_propagation_has_forward_mode_derivatives(function, nodes):
    ours, plain = hops(function, nodes)
    x, tangent = double(0), double(1)
    torch.testing.assert_close(torch.func.jvp(ours, (x,), (tangent,))[1], torch.func.jvp(plain, (x,), (tangent,))[1])
    torch.testing.assert_close(torch.func.jacfwd(ours)(x), torch.func.jacfwd(plain)(x))


@LINEAR
def test_forward_over_reverse(function):
    """A Hessian's product with a vector."""

    def product(function) -> Tensor:
        x = double(0).requires_grad_()
        with forward_ad.dual_level():
            loss = function(forward_ad.make_dual(x, double(1))).sum()
            return forward_ad.unpack_dual(torch.autograd.grad(loss, x)[0]).tangent

    ours, plain = hops(function, None)
    torch.testing.assert_close(product(ours), product(plain))


@LINEAR
def test_tangents_of_tangents_are_an_error(function):
    x, tangent = double(0), double(1)

    def derivative(x: Tensor) -> Tensor:
        return torch.func.jvp(lambda x: function(x, GRAPH, 2), (x,), (tangent,))[1]

    with pytest.raises(NotImplementedError, match="no forward-mode derivatives of such derivatives"):
        torch.func.jvp(derivative, (x,), (tangent,))
