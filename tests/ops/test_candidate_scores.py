"""candidate_scores: reference against the formula, and what the operators' cases leave out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ans_fast import ops
from benchmarks.memory import extra_peak
from tests.ops.cases import rounded, scores_case


def case(*shape: int, n_items: int = 11, dtype: torch.dtype = torch.float64) -> dict:
    """Random arguments for B, M and D."""
    return rounded(scores_case(*shape, n_items), dtype).inputs


def with_gradients(inputs: dict, function=ops.candidate_scores) -> list[Tensor]:
    """Scores, and the gradients by users' and items' rows of some of their linear functions."""
    rows = {name: inputs[name].detach().requires_grad_() for name in ("user_rows", "item_rows")}
    scores = function(**inputs | rows)
    (torch.linspace(-1, 2, scores.numel()).view(scores.shape).to(scores) * scores).sum().backward()
    return [scores.detach(), *(leaf.grad for leaf in rows.values())]


def test_reference_is_the_formula():
    inputs = case(5, 7, 3)
    users, items, candidates = (value.tolist() for value in inputs.values())
    with ops.backend("reference"):
        got = ops.candidate_scores(**inputs).tolist()
    for b, user in enumerate(users):
        for m, item in enumerate(candidates[b]):
            assert got[b][m] == pytest.approx(sum(x * y for x, y in zip(user, items[item], strict=True)), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 6), st.integers(0, 20), st.integers(0, 40), st.integers(1, 9))
def test_any_shape(pairs, candidates, dim, n_items):
    inputs = case(pairs, candidates, dim, n_items=n_items)
    got = with_gradients(inputs)
    with ops.backend("reference"):
        want = with_gradients(inputs)
    for mine, expected in zip(got, want, strict=True):
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_without_items_there_are_no_candidates(backend):
    inputs = dict(
        user_rows=torch.ones(3, 4), item_rows=torch.ones(0, 4), candidates=torch.ones(3, 0, dtype=torch.int64)
    )
    with ops.backend(backend):
        scores, grad_users, grad_items = with_gradients(inputs)
    assert (scores.shape, grad_items.shape) == ((3, 0), (0, 4))
    assert not grad_users.any()


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_nan_stays_where_it_is(backend):
    inputs = case(3, 9, 20, dtype=torch.float32)
    inputs["candidates"] = torch.tensor([[1] * 8 + [2], [2] * 9, [4] * 9])
    inputs["item_rows"][2, 19] = math.nan
    with ops.backend(backend):
        wrong = ops.candidate_scores(**inputs).isnan()
    assert torch.equal(wrong, inputs["candidates"] == 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_score_has_the_same_bits_wherever_its_candidate_stands(dtype):
    """Candidates are scored several at a time, and the last ones alone."""
    inputs = case(1, 21, 67, dtype=dtype)
    inputs["candidates"][:] = 3
    scores = ops.candidate_scores(**inputs)
    assert (scores == scores[0, 0]).all()


def test_a_row_that_is_wanted_often_has_its_gradient_summed_in_float32():
    """In bfloat16 a sum of ones would stay at 256."""
    inputs = case(50, 20, 8, dtype=torch.bfloat16)
    inputs |= dict(user_rows=torch.ones(50, 8).bfloat16(), item_rows=inputs["item_rows"].requires_grad_())
    inputs["candidates"][:] = 3
    ops.candidate_scores(**inputs).sum().backward()
    assert (inputs["item_rows"].grad[3] == 1000).all()
    assert inputs["item_rows"].grad.count_nonzero() == 8


def test_gradcheck():
    inputs = case(4, 10, 3)
    rows = [inputs[name].requires_grad_() for name in ("user_rows", "item_rows")]
    assert torch.autograd.gradcheck(lambda *rows: ops.candidate_scores(*rows, inputs["candidates"]), rows)


@pytest.mark.parametrize("name", ["user_rows", "item_rows"])
def test_a_gradient_of_one_side_alone(name):
    inputs = case(4, 10, 3)
    want = dict(zip(("user_rows", "item_rows"), with_gradients(inputs)[1:], strict=True))[name]
    leaf = inputs[name].detach().requires_grad_()
    scores = ops.candidate_scores(**inputs | {name: leaf})
    scores.backward(torch.linspace(-1, 2, scores.numel()).view(scores.shape).to(scores))
    assert torch.equal(leaf.grad, want)


def test_the_same_bits_at_any_number_of_threads(threads):
    results = []
    for n in (1, 2, 4, 7):
        threads(n)
        results.append(with_gradients(case(300, 100, 64, n_items=500, dtype=torch.float32)))
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


def test_rows_are_never_gathered():
    inputs = case(2048, 128, 64, n_items=5000, dtype=torch.float32)
    with_gradients(inputs)
    peak = extra_peak(lambda: with_gradients(inputs))
    assert peak is None or peak < 12  # MB: the rows of all candidates are 67, scores and both gradients 4


def test_non_contiguous():
    inputs = case(6, 9, 8)
    want = with_gradients(inputs)
    for name in ("user_rows", "item_rows"):
        inputs[name] = inputs[name].T.contiguous().T
    inputs["candidates"] = inputs["candidates"].repeat_interleave(2, 1)[:, ::2]
    for got, expected in zip(with_gradients(inputs), want, strict=True):
        assert torch.equal(got, expected)


def test_opcheck():
    inputs = case(6, 9, 8, dtype=torch.float32)
    inputs |= {name: inputs[name].requires_grad_() for name in ("user_rows", "item_rows")}
    torch.library.opcheck(torch.ops.ans_fast.candidate_scores, tuple(inputs.values()))
    backward = torch.ops.ans_fast.candidate_scores_backward
    torch.library.opcheck(backward, (torch.ones(6, 9), *(value.detach() for value in inputs.values()), False))


@pytest.mark.compiles
def test_compiles_whole():
    inputs = case(6, 9, 8)
    compiled = torch.compile(ops.candidate_scores, fullgraph=True, backend="aot_eager")
    for got, want in zip(with_gradients(inputs, compiled), with_gradients(inputs), strict=True):
        torch.testing.assert_close(got, want)


def test_second_derivatives_are_refused():
    inputs = case(2, 3, 4)
    rows = inputs["user_rows"].requires_grad_()
    grad = torch.autograd.grad(ops.candidate_scores(**inputs).square().sum(), rows, create_graph=True)[0]
    with pytest.raises(NotImplementedError, match="candidate_scores has first derivatives alone"):
        grad.sum().backward()
    with pytest.raises(NotImplementedError, match="candidate_scores has no forward-mode derivative"):
        torch.func.jvp(lambda rows: ops.candidate_scores(**inputs | dict(user_rows=rows)), (rows,), (rows,))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(user_rows=torch.ones(3)), ValueError, r"user_rows must be \[B, D\], got \[3\]"),
        (dict(item_rows=torch.ones(9, 4)), ValueError, r"item_rows must be \[n_items, D = 8\], got \[9, 4\]"),
        (dict(item_rows=torch.ones(9, 8)), TypeError, "item_rows must be float64, got float32"),
        (dict(candidates=torch.arange(6)), ValueError, r"candidates must be \[B = 6, M\], got \[6\]"),
        (dict(candidates=torch.ones(5, 2).long()), ValueError, r"candidates must be \[B = 6, M\], got \[5, 2\]"),
        (dict(candidates=torch.ones(6, 2)), TypeError, "candidates must be int64, got float32"),
        (
            dict(candidates=torch.full((6, 2), 11)),
            ValueError,
            r"candidates must be in \[0, 11\), got 11 at position 0",
        ),
        (dict(candidates=torch.full((6, 2), -1)), ValueError, r"candidates must be in \[0, 11\), got -1"),
        (
            dict(item_rows=torch.ones(11, 8, dtype=torch.float64, device="meta")),
            ValueError,
            "item_rows must be on cpu, got meta",
        ),
    ],
)
@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_mistakes(backend, changes, error, message):
    with ops.backend(backend), pytest.raises(error, match=message):
        ops.candidate_scores(**case(6, 9, 8) | changes)
