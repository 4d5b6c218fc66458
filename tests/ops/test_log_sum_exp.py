"""log_sum_exp: reference against the formula, and what the operators' cases leave out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ans_fast import ops, reference
from benchmarks.memory import extra_peak
from tests.ops.cases import log_sum_exp_case, rounded

ALL = ("queries", "keys", "query_ids", "key_ids", "key_bias")


def case(shape: tuple[int, int, int], without: tuple[str, ...] = (), dtype: torch.dtype = torch.float64) -> dict:
    """Random arguments; few ids, so that many pairs are left out."""
    return rounded(log_sum_exp_case(*shape, without), dtype).inputs


def with_gradients(inputs: dict, function=ops.log_sum_exp) -> list[Tensor]:
    """log_sums, and the gradients by queries and keys of some of their linear functions."""
    queries, keys = (inputs[name].detach().requires_grad_() for name in ("queries", "keys"))
    log_sums = function(**inputs | dict(queries=queries, keys=keys))
    factors = torch.linspace(-1, 2, len(queries)).to(log_sums)
    finite = log_sums.isfinite()
    torch.where(finite, log_sums, 0).mul(factors).sum().backward()
    return [log_sums.detach(), queries.grad, keys.grad]


@pytest.mark.parametrize("without", [(), ALL[2:], ALL[2:4], ALL[4:]], ids=str)
def test_reference_is_the_formula(without):
    inputs = case((5, 7, 3), without)
    queries, keys, query_ids, key_ids, bias = (v if v is None else v.tolist() for v in (inputs[n] for n in ALL))
    for b, got in enumerate(reference.log_sum_exp(**inputs).tolist()):
        terms = [
            math.exp(1.5 * sum(x * y for x, y in zip(queries[b], key, strict=True)) + (bias[n] if bias else 0))
            for n, key in enumerate(keys)
            if query_ids is None or query_ids[b] != key_ids[n]
        ]
        assert got == (pytest.approx(math.log(sum(terms)), rel=1e-12) if terms else -math.inf)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_need_not_begin_at_the_boundary_of_a_register(dtype):
    inputs = case((60, 600, 64), dtype=dtype)
    shifted = dict(inputs)
    for name in ("queries", "keys"):
        memory = torch.zeros(inputs[name].numel() + 1, dtype=dtype)
        shifted[name] = memory[1:].view_as(inputs[name]).copy_(inputs[name])
    for one, other in zip(with_gradients(inputs), with_gradients(shifted), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_scores_do_not_overflow(backend, dtype):
    queries = torch.tensor([[1.0], [-1.0], [0.0]], dtype=dtype)
    keys = torch.tensor([[-3000.0], [3000.0], [2999.0]], dtype=dtype)
    with ops.backend(backend):
        got, grad_queries, _ = with_gradients(case((1, 1, 1), ALL[2:]) | dict(queries=queries, keys=keys, scale=1.0))
    tail = math.log1p(math.exp(-1))
    torch.testing.assert_close(got, torch.tensor([3000 + tail, 3000, math.log(3)], dtype=dtype))
    share = 1 / (1 + math.exp(-1))
    mean = (3000 * share + 2999 * (1 - share)) * -1
    want = torch.tensor([mean, -1500, 2 * 2999 / 3], dtype=dtype)
    rounding = 3000 * torch.finfo(dtype).eps  # of log_sums, and so a share of the weights
    torch.testing.assert_close(grad_queries[:, 0], want, rtol=rounding, atol=0)


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize(("dtype", "score"), [(torch.float32, -100.0), (torch.float64, -1000.0)])
def test_small_scores_do_not_vanish(backend, dtype, score):
    """Nor do they where the first tile of keys is left out."""
    keys = torch.full((600, 1), score, dtype=dtype)
    key_bias = torch.zeros(600, dtype=dtype)
    for left_out in (0, 300):
        key_bias[:left_out] = -math.inf
        with ops.backend(backend):
            got = ops.log_sum_exp(torch.ones(1, 1, dtype=dtype), keys, key_bias=key_bias)
        torch.testing.assert_close(got, torch.tensor([score + math.log(600 - left_out)], dtype=dtype))


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_without_keys_there_is_no_gradient(backend):
    inputs = case((3, 4, 5), ())
    inputs |= dict(query_ids=torch.tensor([1, 2, 1]), key_ids=torch.tensor([1, 1, 1, 1]))
    inputs["key_bias"][1:] = -math.inf
    with ops.backend(backend):
        log_sums, grad_queries, grad_keys = with_gradients(inputs)
    alone = 1.5 * (inputs["queries"][1] @ inputs["keys"][0]) + inputs["key_bias"][0]
    torch.testing.assert_close(log_sums, torch.tensor([-math.inf, alone, -math.inf], dtype=torch.float64))
    assert not grad_queries[[0, 2]].any()
    assert not grad_keys[1:].any()
    torch.testing.assert_close(grad_queries[1], 0.5 * 1.5 * inputs["keys"][0])


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (0, 0, 4), (3, 4, 0)])
def test_nothing_to_add_up(backend, shape):
    inputs = case(shape, ALL[2:])
    with ops.backend(backend):
        log_sums, grad_queries, grad_keys = with_gradients(inputs)
    assert log_sums.tolist() == ([math.log(4)] * 3 if shape == (3, 4, 0) else [-math.inf] * shape[0])
    assert grad_queries.shape == (shape[0], shape[2])
    assert grad_keys.shape == (shape[1], shape[2])
    assert not grad_queries.any()
    assert not grad_keys.any()


def test_more_keys_than_can_be_counted_are_an_error():
    with pytest.raises(ValueError, match=r"keys' N must be in \[0, 2147483647\], got 4611686018427387904"):
        ops.log_sum_exp(torch.ones(3, 0), torch.empty(2**62, 0))


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_nan_stays_nan(backend):
    inputs = case((3, 300, 8), ALL[2:])
    inputs["queries"][1, 2] = math.nan
    with ops.backend(backend):
        assert ops.log_sum_exp(**inputs).isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("without", [(), ALL[2:]], ids=str)
def test_gradcheck(without):
    inputs = case((4, 7, 3), without)
    if not without:
        inputs["query_ids"][:] = torch.arange(4) + (1 << 40)
    rows = [inputs.pop(name).requires_grad_() for name in ("queries", "keys")]
    assert torch.autograd.gradcheck(lambda *rows: ops.log_sum_exp(*rows, **inputs), rows)


def test_a_gradient_of_one_side_alone():
    inputs = case((4, 7, 3), dtype=torch.float32)
    inputs["keys"].requires_grad_()
    ops.log_sum_exp(**inputs).nan_to_num(0, 0, 0).sum().backward()
    torch.testing.assert_close(
        inputs["keys"].grad, torch.func.grad(lambda k: _sum(inputs, k))(inputs["keys"].detach()), rtol=1e-5, atol=1e-6
    )


def _sum(inputs: dict, keys: Tensor) -> Tensor:
    return reference.log_sum_exp(**inputs | dict(keys=keys)).nan_to_num(0, 0, 0).sum()


def test_same_at_any_thread_count(threads):
    results = []
    for n in (1, 2, 4, 7):
        threads(n)
        results.append(with_gradients(case((300, 700, 64), dtype=torch.float32)))
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.parametrize(("dim", "most"), [(60, 8), (64, 4)])
def test_neither_scores_nor_aligned_rows_are_held(dim, most):
    inputs = case((4096, 4096, dim), dtype=torch.float32)
    with_gradients(inputs)
    peak = extra_peak(lambda: with_gradients(inputs))
    assert peak is None or peak < most  # MB: the scores alone are 67, both gradients 2.1, copies for registers 4.2


def test_non_contiguous():
    inputs = case((6, 9, 8))
    want = with_gradients(inputs)
    for name in ("queries", "keys"):
        inputs[name] = inputs[name].T.contiguous().T
    for name in ALL[2:]:
        inputs[name] = inputs[name].repeat_interleave(2)[::2]
    for got, expected in zip(with_gradients(inputs), want, strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("without", [(), ALL[2:]], ids=str)
def test_opcheck(without):
    inputs = case((6, 9, 8), without, torch.float32)
    inputs |= dict(queries=inputs["queries"].requires_grad_(), keys=inputs["keys"].requires_grad_())
    torch.library.opcheck(torch.ops.ans_fast.log_sum_exp, tuple(inputs.values()))
    values = [value.detach() if isinstance(value, Tensor) else value for value in inputs.values()]
    log_sums = torch.ops.ans_fast.log_sum_exp(*values)
    torch.library.opcheck(torch.ops.ans_fast.log_sum_exp_backward, (torch.ones(6), log_sums, *values))


@pytest.mark.compiles
def test_compiles_whole():
    inputs = case((6, 9, 8))
    compiled = torch.compile(ops.log_sum_exp, fullgraph=True, backend="aot_eager")
    for got, want in zip(with_gradients(inputs, compiled), with_gradients(inputs), strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(queries=torch.ones(3)), ValueError, r"queries must be \[B, D\], got \[3\]"),
        (dict(keys=torch.ones(9, 4)), ValueError, r"keys must be \[N, D = 8\], got \[9, 4\]"),
        (dict(keys=torch.ones(9, 8)), TypeError, "keys must be float64, got float32"),
        (dict(key_ids=None), ValueError, "query_ids and key_ids must be given together"),
        (dict(query_ids=torch.arange(5)), ValueError, r"query_ids must be \[B = 6\], got \[5\]"),
        (dict(key_ids=torch.arange(9).int()), TypeError, "key_ids must be int64, got int32"),
        (dict(key_bias=torch.ones(9)), TypeError, "key_bias must be float64, got float32"),
        (dict(key_bias=torch.ones(9, 1).double()), ValueError, r"key_bias must be \[N = 9\], got \[9, 1\]"),
        (dict(keys=torch.ones(9, 8, dtype=torch.float64, device="meta")), ValueError, "keys must be on cpu, got meta"),
        (
            dict(queries=torch.ones(6, 8).half()),
            TypeError,
            "queries must be float32 or float64 or bfloat16, got float16",
        ),
    ],
)
@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_mistakes(backend, changes, error, message):
    with ops.backend(backend), pytest.raises(error, match=message):
        ops.log_sum_exp(**case((6, 9, 8)) | changes)
