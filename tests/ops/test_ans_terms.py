"""ans_terms: reference against the formulas, and what the operators' cases leave out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ans_fast import ops
from ans_fast.reference import AnsTerms
from tests.ops import literal_ans
from tests.ops.cases import SEED, ans_case

FLOATS = ans_case(1, 1, 1, 1, False).by
WEIGHTS = (1.0, 0.7, 0.3, 0.2)
Inputs = dict[str, Any]


def inputs_of(*shape: int, ragged: bool = False, dtype: torch.dtype = torch.float64, **options: int) -> Inputs:
    """Random arguments for B pairs, M negatives, H hops and D columns."""
    inputs = ans_case(*shape, ragged, **options).inputs
    return inputs | {name: inputs[name].to(dtype) for name in FLOATS}


def run(inputs: Inputs, backend: str = "fused", **options: Any) -> tuple[AnsTerms, list[Tensor]]:
    """Terms, and gradients of a weighted sum of them and of the differences."""
    leaves = {name: inputs[name].detach().clone().requires_grad_() for name in FLOATS}
    with ops.backend(backend):
        terms = ops.ans_terms(**{**inputs, **leaves, **options})
    total = sum(weight * term for weight, term in zip(WEIGHTS, terms[:4], strict=True))
    (total + torch.linspace(-0.2, 0.3, len(terms.differences)).to(total) @ terms.differences).backward()
    return terms, [leaf.grad for leaf in leaves.values()]


def values(terms: AnsTerms) -> list[Tensor]:
    """All but what is selected."""
    return [*terms[:4], terms.differences]


def assert_close(got: tuple, want: tuple, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    """Of two results of `run`."""
    assert torch.equal(got[0].selected, want[0].selected)
    for a, b in zip([*values(got[0]), *got[1]], [*values(want[0]), *want[1]], strict=True):
        assert torch.isfinite(a).all()
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("shape", [(5, 3, 2, 7), (1, 1, 1, 1), (3, 2, 4, 1), (33, 16, 4, 64), (2, 5, 3, 100)])
def test_reference_is_the_formulas(shape, ragged):
    inputs = inputs_of(*shape, ragged=ragged)
    pairs, negatives, hops, dim = shape
    noise = ops.ans_noise(SEED, pairs * negatives * hops, dim).double().view(pairs, negatives, hops, dim)
    want = literal_ans.terms(inputs, noise.tolist())
    got, _ = run(inputs, "reference")
    assert [float(term.detach()) for term in got[:4]] == pytest.approx(list(want[:4]), rel=1e-12, abs=1e-14)
    assert got.selected.tolist() == want[4]
    assert got.differences.tolist() == pytest.approx(want[5], rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("backend", ["reference", "fused"])
@pytest.mark.parametrize("shape", [(3, 2, 2, 3), (2, 3, 1, 5), (1, 1, 1, 1)])
def test_gradients_are_finite_differences(shape, backend):
    inputs = inputs_of(*shape, ragged=True, n_items=23)

    def terms(*floats):
        return values(ops.ans_terms(**inputs | dict(zip(FLOATS, floats, strict=True))))

    with ops.backend(backend):
        floats = [inputs[name].requires_grad_() for name in FLOATS]
        assert torch.autograd.gradcheck(terms, floats, eps=1e-7, atol=1e-6, rtol=1e-4)


# From D = 2 on: in one dimension all noise has one length, and rounding would decide between an item and itself.
@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 6), st.integers(1, 9), st.integers(1, 5), st.integers(2, 40), st.booleans(), st.integers(0, 2**31)
)
def test_any_shape(pairs, negatives, hops, dim, ragged, seed):
    inputs = inputs_of(pairs, negatives, hops, dim, ragged=ragged, seed=seed)
    assert_close(run(inputs), run(inputs, "reference"))


def test_empty_batch_gives_zeros():
    terms, gradients = run(inputs_of(0, 4, 2, 8))
    assert [float(term.detach()) for term in terms[:4]] == [0, 0, 0, 0]
    assert terms.selected.shape == (0, 2)
    assert all(not gradient.any() for gradient in gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("backend", ["reference", "fused"])
def test_extremes_stay_finite(backend, dtype):
    """Zero rows (zero norms and margin logits), saturated gates, scores that would overflow an exponential."""
    inputs = inputs_of(6, 4, 2, 16, dtype=dtype)
    for name, scale in {"user_hops": 30.0, "item_hops": 30.0, "user_gate": 100.0, "item_gate": 100.0}.items():
        inputs[name].mul_(scale)
    inputs["item_hops"][:4] = 0
    inputs["margin_weight"].zero_()
    inputs["margin_bias"].zero_()
    terms, gradients = run(inputs, backend)
    assert all(torch.isfinite(value).all() for value in [*terms[:4], *gradients])
    zeros = inputs_of(3, 2, 2, 5, dtype=dtype)
    terms, gradients = run(zeros | {name: torch.zeros_like(zeros[name]) for name in FLOATS}, backend)
    assert all(torch.isfinite(value).all() for value in [*terms[:4], *gradients])


@pytest.mark.parametrize("logit", [1e-30, -1e-30, 1e-3, -1e-3, 0.0124, 0.0126, 1e30])
def test_margin_logit_near_zero(logit):
    inputs = inputs_of(4, 3, 1, 5)
    inputs["margin_weight"].zero_()
    inputs["margin_bias"].fill_(logit)
    assert_close(run(inputs), run(inputs, "reference"), atol=1e-13)


def test_nan_stays_nan():
    inputs = inputs_of(4, 3, 2, 16, dtype=torch.float32)
    inputs["user_hops"][int(inputs["users"][0])] = float("nan")
    terms, _ = run(inputs)
    assert torch.isnan(terms.bpr)


def test_ties_go_to_the_lowest():
    inputs = inputs_of(2, 5, 2, 8)
    inputs["neg_items"][:] = 3  # the same item, and noise off: all scores tie
    terms, _ = run(inputs, noise_scale=0.0)
    assert not terms.selected.any()


@pytest.mark.parametrize("backend", ["reference", "fused"])
def test_padding_is_not_read(backend):
    inputs = inputs_of(3, 5, 2, 8, ragged=True)
    padding = torch.arange(5) >= inputs["neg_count"][:, None]
    assert (inputs["neg_items"][padding] == 10**12).all()
    assert padding.any()
    assert_close(run(inputs, backend), run(inputs | {"neg_items": inputs["neg_items"].masked_fill(padding, 0)}))


def test_same_bits_at_any_thread_count(threads):
    inputs = inputs_of(300, 9, 4, 64, ragged=True, dtype=torch.float32)
    results = []
    for n in (1, 2, 4):
        threads(n)
        terms, gradients = run(inputs)
        results.append([*terms, *gradients])
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.parametrize("name", ["fused", "reference"])
def test_parts_of_a_batch_have_its_noise(name):
    """Negatives and terms are those of the whole batch, gradients too."""
    inputs = inputs_of(7, 4, 3, 10, ragged=True) | {"noise_scale": 2.0}
    floats = [inputs[name].requires_grad_() for name in FLOATS]

    def terms_of(begin: int, end: int) -> tuple[Tensor, Tensor]:
        of_pairs = ("user_gate", "users", "pos_items", "neg_items", "neg_count")
        part = {name: inputs[name][begin:end] for name in of_pairs}
        *terms, selected, _ = ops.ans_terms(**{**inputs, **part, "first_pair": begin})
        return torch.stack(terms), selected

    with ops.backend(name):
        whole, selected = terms_of(0, 7)
        parts = [terms_of(0, 3), terms_of(3, 7)]
        together = (3 * parts[0][0] + 4 * parts[1][0]) / 7
        gradients = [torch.autograd.grad(terms.sum(), floats) for terms in (whole, together)]
    assert torch.equal(torch.cat([part[1] for part in parts]), selected)
    assert torch.allclose(together, whole)
    assert all(torch.allclose(one, other) for one, other in zip(*gradients, strict=True))


def test_opcheck_and_compile():
    inputs = inputs_of(6, 3, 2, 8, ragged=True, dtype=torch.float32) | {"seed": torch.tensor([7]), "first_pair": 2}
    floats = [inputs[name].requires_grad_() for name in FLOATS]
    forward = torch.ops.ans_fast.ans_terms_forward
    torch.library.opcheck(forward, tuple(inputs.values()))
    detached = [value.detach() if isinstance(value, Tensor) else value for value in inputs.values()]
    short = [value.bfloat16() if torch.is_tensor(value) and value.is_floating_point() else value for value in detached]
    for arguments in (detached, short):
        _, selected, saved, _ = forward(*arguments)
        backward = (*arguments, torch.ones(4), torch.ones(6), selected, saved, False)
        torch.library.opcheck(torch.ops.ans_fast.ans_terms_backward, backward)

    def loss(*floats):
        return sum(ops.ans_terms(**inputs | dict(zip(FLOATS, floats, strict=True)))[:4])

    torch.testing.assert_close(torch.compile(loss, fullgraph=True)(*floats), loss(*floats))


def test_non_contiguous():
    inputs = inputs_of(6, 4, 2, 8)
    want, want_gradients = run(inputs)
    spread = {name: _spread(inputs[name]) for name in (*FLOATS[:4], "neg_items")}
    assert not any(tensor.is_contiguous() for tensor in spread.values())
    got, gradients = run(inputs | spread)
    assert all(torch.equal(a, b) for a, b in zip([*got, *gradients], [*want, *want_gradients], strict=True))


def _spread(tensor: Tensor) -> Tensor:
    return tensor.transpose(0, -1).contiguous().transpose(0, -1)


def _with(position: int, value: int) -> Callable[[Tensor], Tensor]:
    return lambda ids: ids.flatten().index_fill(0, torch.tensor(position), value).view(ids.shape)


BAD = {
    "user_hops must be [n_users, H, D], got [7, 16]": ("user_hops", lambda rows: rows.flatten(1)),
    "neg_items must be [B, M], got [24]": ("neg_items", torch.flatten),
    "user_gate must be [B = 6, H = 2, D = 8], got [5, 2, 8]": ("user_gate", lambda rows: rows[:5]),
    "pos_items must be int64, got int32": ("pos_items", Tensor.int),
    "item_hops must be float64, got float32": ("item_hops", Tensor.float),
    "users must be in [0, 7), got 7 at position 2": ("users", _with(2, 7)),
    "pos_items must be in [0, 11), got -1 at position 0": ("pos_items", _with(0, -1)),
    "neg_items must be in [0, 11), got 99 at position 5": ("neg_items", _with(5, 99)),
    "margin_bias must be [1], got [2]": ("margin_bias", lambda bias: bias.repeat(2)),
}


@pytest.mark.parametrize("backend", ["reference", "fused"])
@pytest.mark.parametrize("message", BAD)
def test_errors_name_the_argument(message, backend):
    inputs = inputs_of(6, 4, 2, 8)
    name, change = BAD[message]
    with pytest.raises((ValueError, TypeError)) as raised:
        run(inputs | {name: change(inputs[name])}, backend)
    assert message in str(raised.value)


@pytest.mark.parametrize("backend", ["reference", "fused"])
def test_a_seed_on_another_device_is_an_error(backend):
    with pytest.raises(ValueError, match="seed must be on the CPU, got meta"):
        run(inputs_of(6, 4, 2, 8), backend, seed=torch.ones(1, dtype=torch.int64, device="meta"))


@pytest.mark.parametrize("backend", ["reference", "fused"])
@pytest.mark.parametrize("count", [0, 5, -1])
def test_count_out_of_range(count, backend):
    counts = _with(3, count)(torch.full((6,), 4))
    with pytest.raises(ValueError, match=r"neg_count must be in \[1, 4\], got"):
        run(inputs_of(6, 4, 2, 8), backend, neg_count=counts)
