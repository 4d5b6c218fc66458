"""top_k_bpr: reference against the formula, and what the operators' cases leave out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ans_fast import ops
from tests.ops.cases import bpr_case


def with_gradient(scores: Tensor, function=ops.top_k_bpr) -> tuple[Tensor, Tensor]:
    """The loss, and the gradient of three of it."""
    leaf = scores.detach().requires_grad_()
    loss = function(leaf)
    return loss.detach(), torch.autograd.grad(3 * loss, leaf)[0]


def scores_of(pairs: int, width: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return bpr_case(pairs, width).inputs["scores"].to(dtype)


@pytest.mark.parametrize("width", [2, 3, 6])
def test_reference_is_the_formula(width):
    scores = scores_of(7, width)
    wanted = []
    for clicked, *others in scores.tolist():
        total = sum(math.exp(n) for n in others)
        chance = sum(math.exp(n) / total / (1 + math.exp(n - clicked)) for n in others)
        wanted.append(-math.log(chance))
    with ops.backend("reference"):
        assert ops.top_k_bpr(scores).item() == pytest.approx(sum(wanted) / 7, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(2, 12), st.sampled_from([0.01, 1.0, 8.0]))
def test_any_shape(pairs, width, scale):
    scores = scores_of(pairs, width) * scale
    got = with_gradient(scores)
    with ops.backend("reference"):
        want = with_gradient(scores)
    for mine, expected in zip(got, want, strict=True):
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_out_a_pair_costs_no_more_and_teaches_nothing(backend, dtype):
    scores = torch.tensor([[-100.0, 100.0], [100.0, -100.0], [-9000.0, 9000.0]], dtype=dtype)
    with ops.backend(backend):
        for given_ in (scores, torch.cat([scores, scores[:, 1:]], 1)):
            loss, gradient = with_gradient(given_)
            assert loss.item() == pytest.approx(-2 / 3 * math.log(1e-8), rel=1e-6)
            assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_seen(backend, width, value):
    """Infinite scores of both make a difference that is none."""
    scores = scores_of(5, width, torch.float32)
    scores[3, :2] = value
    with ops.backend(backend):
        assert ops.top_k_bpr(scores).isnan()


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_no_pairs_have_no_mean(backend):
    with ops.backend(backend):
        loss, gradient = with_gradient(torch.ones(0, 3))
    assert loss.isnan()
    assert gradient.shape == (0, 3)


@pytest.mark.parametrize("width", [2, 5])
def test_gradcheck(width):
    assert torch.autograd.gradcheck(ops.top_k_bpr, (scores_of(6, width).requires_grad_(),))


@pytest.mark.parametrize("width", [2, 3])
def test_the_same_bits_at_any_number_of_threads(width, threads):
    """Of so many pairs that each has some, and begins where registers do not."""
    scores, results = scores_of(60_001, width, torch.float32), []
    for n in (1, 2, 5):
        threads(n)
        results.append(with_gradient(scores))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_non_contiguous():
    scores = scores_of(6, 4)
    for got, want in zip(with_gradient(scores.T.contiguous().T), with_gradient(scores), strict=True):
        assert torch.equal(got, want)


def test_opcheck():
    scores = scores_of(6, 4, torch.float32)
    torch.library.opcheck(torch.ops.ans_fast.top_k_bpr, (scores.requires_grad_(),))
    torch.library.opcheck(torch.ops.ans_fast.top_k_bpr_backward, (torch.tensor(2.0), scores.detach()))


@pytest.mark.compiles
def test_compiles_whole():
    compiled = torch.compile(ops.top_k_bpr, fullgraph=True, backend="aot_eager")
    for got, want in zip(with_gradient(scores_of(6, 4), compiled), with_gradient(scores_of(6, 4)), strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize(
    ("scores", "error", "message"),
    [
        (torch.ones(3), ValueError, r"scores must be \[B, W\], got \[3\]"),
        (torch.ones(3, 1), ValueError, "scores must have W of at least 2, got 1"),
        (torch.ones(3, 2).long(), TypeError, "scores must be float32 or float64, got int64"),
        (torch.ones(3, 2).bfloat16(), TypeError, "scores must be float32 or float64, got bfloat16"),
    ],
)
@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_mistakes(backend, scores, error, message):
    with ops.backend(backend), pytest.raises(error, match=message):
        ops.top_k_bpr(scores)


def test_mistakes_of_a_raw_call():
    with pytest.raises(ValueError, match=r"scores' W must be in \[2, \d+\], got 1"):
        torch.ops.ans_fast.top_k_bpr(torch.ones(3, 1))
    with pytest.raises(ValueError, match=r"grad must be a scalar, got \[1\]"):
        torch.ops.ans_fast.top_k_bpr_backward(torch.ones(1), torch.ones(3, 2))
