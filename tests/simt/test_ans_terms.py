"""ans_terms_forward.cu and ans_terms_backward.cu on the CPU: what the operators' cases leave out."""

from __future__ import annotations

from collections import namedtuple
from inspect import signature

import pytest
import torch

import ans_fast
from ans_fast import reference
from tests.ops.cases import SEED, ans_case
from tests.simt import kernels

# The operator's tensors, by its own names.
AnsInputs = namedtuple("AnsInputs", list(signature(ans_fast.ops.ans_terms).parameters)[:10])
GRADIENTS = AnsInputs._fields[:6]
EPS, NOISE_SCALE = 0.3, 0.2


def random_inputs(pairs: int, negatives: int, hops: int, dim: int, ragged: bool) -> AnsInputs:
    inputs = ans_case(pairs, negatives, hops, dim, ragged, n_users=4, n_items=9).inputs
    return AnsInputs(*(inputs[name].float() if name in GRADIENTS else inputs[name] for name in AnsInputs._fields))


def expected(inputs: AnsInputs, grad: torch.Tensor, seed: int = SEED):
    """Terms and differences one after the other, selected, and gradients, in float64."""
    leaves = [tensor.double().requires_grad_() for tensor in inputs[:6]]
    out = reference.ans_terms(*leaves, *inputs[6:], EPS, NOISE_SCALE, torch.tensor([seed]))
    values = torch.cat([torch.stack(out[:4]), out.differences])
    return values.detach(), out.selected, torch.autograd.grad(values, leaves, grad.double())


def assert_close(got: torch.Tensor, want: torch.Tensor, tolerance: float, what: str) -> None:
    assert got.isfinite().all(), what
    error, size = (got.double() - want).norm(), want.norm()
    assert error <= tolerance * size + 1e-12, f"{what}: {error:.2e} of {size:.2e}"


GRAD_TERMS = torch.tensor([0.7, -1.3, 0.4, 0.9])


def check(inputs: AnsInputs, seed: int = SEED) -> None:
    terms, selected, saved, differences = kernels.ans_terms_forward(inputs, EPS, NOISE_SCALE, seed)
    grad_differences = torch.linspace(-0.5, 1, len(differences))
    grad = torch.cat([GRAD_TERMS, grad_differences])
    want, want_selected, want_gradients = expected(inputs, grad, seed)
    assert_close(terms, want[:4], 1e-5, "terms")
    assert_close(differences, want[4:], 1e-5, "differences")
    assert torch.equal(selected, want_selected)
    assert saved.isfinite().all()
    for deterministic in (False, True):
        where = (EPS, NOISE_SCALE, seed, selected, saved, deterministic)
        gradients = kernels.ans_terms_backward(GRAD_TERMS, inputs, *where, grad_differences=grad_differences)
        for name, got, want in zip(GRADIENTS, gradients, want_gradients, strict=True):
            assert_close(got, want, 1e-5, f"gradient of {name}, deterministic={deterministic}")


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("dim", [64, 300])
def test_other_orders_of_threads_and_blocks(dim, order):
    with kernels.in_order(order):
        check(random_inputs(4, 6, 2, dim, True))


@pytest.mark.parametrize("dim", [64, 300])
def test_the_deterministic_path_gives_the_same_bits_in_any_order(dim):
    inputs = random_inputs(6, 7, 2, dim, True)
    _, selected, saved, _ = kernels.ans_terms_forward(inputs, EPS, NOISE_SCALE, SEED)
    results = []
    for order in range(3):
        with kernels.in_order(order):
            gradients = kernels.ans_terms_backward(GRAD_TERMS, inputs, EPS, NOISE_SCALE, SEED, selected, saved, True)
        results.append(gradients)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradients_are_those_of_float32_rounded_once(dtype):
    inputs = random_inputs(6, 7, 2, 36, True)
    short = inputs._replace(**{name: getattr(inputs, name).to(dtype) for name in GRADIENTS})
    wide = short._replace(**{name: getattr(short, name).float() for name in GRADIENTS})
    for deterministic in (False, True):
        results = []
        for given in (short, wide):
            _, selected, saved, _ = kernels.ans_terms_forward(given, EPS, NOISE_SCALE, SEED)
            where = (EPS, NOISE_SCALE, SEED, selected, saved, deterministic)
            results.append(kernels.ans_terms_backward(GRAD_TERMS, given, *where))
        for got, want in zip(*results, strict=True):
            assert got.dtype == dtype
            torch.testing.assert_close(got, want.to(dtype))


def test_selected_equals_the_cpu_kernels_choice():
    inputs = random_inputs(30, 16, 4, 64, True)
    terms, selected, _, _ = kernels.ans_terms_forward(inputs, EPS, NOISE_SCALE, SEED)
    cpu = ans_fast.ops.ans_terms(*inputs, EPS, NOISE_SCALE, SEED)
    assert torch.equal(selected, cpu.selected)
    assert_close(terms, torch.stack(cpu[:4]).double(), 1e-6, "terms")


def test_a_seed_in_memory():
    inputs = random_inputs(3, 4, 2, 64, False)
    by_value = kernels.ans_terms_forward(inputs, EPS, NOISE_SCALE, 5)
    by_address = kernels.ans_terms_forward(inputs, EPS, NOISE_SCALE, torch.tensor([5]))
    assert all(torch.equal(a, b) for a, b in zip(by_value, by_address, strict=True))


def test_the_first_of_equal_negatives_wins():
    inputs = random_inputs(4, 9, 2, 64, False)
    inputs.neg_items[:] = inputs.neg_items[:, :1]
    # Without noise all negatives of a pair are the same.
    _, selected, _, _ = kernels.ans_terms_forward(inputs, EPS, 0.0, SEED)
    assert (selected == 0).all()


@pytest.mark.parametrize("scale", [0.0, 30.0])
def test_extreme_rows_give_finite_gradients(scale):
    inputs = random_inputs(4, 5, 2, 64, False)
    rows = [tensor * scale for tensor in inputs[:4]]
    inputs = AnsInputs(*rows, *inputs[4:])
    terms, selected, saved, _ = kernels.ans_terms_forward(inputs, EPS, NOISE_SCALE, SEED)
    want, _, _ = expected(inputs, torch.cat([GRAD_TERMS, torch.zeros(4)]))
    assert_close(terms, want[:4], 1e-5, "terms")
    for deterministic in (False, True):
        gradients = kernels.ans_terms_backward(
            GRAD_TERMS, inputs, EPS, NOISE_SCALE, SEED, selected, saved, deterministic
        )
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("logit", [0.0, 1e-30, -1e-30, 1e-3, -1e-3, 0.0126, 1e30])
def test_margin_logit_near_zero(logit):
    inputs = random_inputs(4, 5, 2, 64, False)
    inputs.margin_weight.zero_()
    inputs.margin_bias.fill_(logit)
    check(inputs)


def test_noise_that_is_zero():
    seed, row = 464938, 18  # found by trying: this row's only draw is 0
    assert ans_fast.ops.ans_noise(seed, row + 1, 1)[row] == 0
    check(random_inputs(12, 1, 2, 1, False), seed=seed)


@pytest.mark.parametrize(
    ("name", "value"),
    [("users", 4), ("users", -1), ("pos_items", 9), ("neg_items", 9), ("neg_items", -(2**40)), ("neg_count", 0),
     ("neg_count", 6)],
)  # fmt: skip
def test_ids_out_of_range_give_nan_terms_and_leave_other_pairs_gradients(name, value):
    inputs = random_inputs(4, 5, 2, 64, False)._replace(neg_count=torch.full((4,), 5))
    getattr(inputs, name)[2] = value
    terms, selected, saved, differences = kernels.ans_terms_forward(inputs, EPS, NOISE_SCALE, SEED)
    assert terms.isnan().all()
    assert differences.isnan().tolist() == [False, False, True, False]
    assert ((selected >= 0) & (selected < 5)).all()
    for deterministic in (False, True):
        gradients = kernels.ans_terms_backward(
            GRAD_TERMS, inputs, EPS, NOISE_SCALE, SEED, selected, saved, deterministic
        )
        user_gate = gradients[2]
        assert (user_gate[2] == 0).all() or user_gate[2].isnan().any()
        assert user_gate[[0, 1, 3]].isfinite().all()


@pytest.mark.parametrize("ragged", [False, True])
def test_negatives_that_are_all_nan_give_nan(ragged):
    inputs = random_inputs(4, 5, 2, 64, ragged)
    pair, other = 2, int(inputs.pos_items[2] == 0)
    inputs.neg_items[:] = 8
    inputs.neg_items[pair] = other
    inputs.item_hops[other] = torch.nan
    inputs.pos_items[inputs.pos_items == other] = 7
    terms, selected, _, differences = kernels.ans_terms_forward(inputs, EPS, NOISE_SCALE, SEED)
    assert terms.isnan().all()
    assert differences.isnan().tolist() == [False, False, True, False]
    assert not selected[pair].any()
    cpu = ans_fast.ops.ans_terms(*inputs, EPS, NOISE_SCALE, SEED)
    assert torch.equal(cpu.differences.isnan(), differences.isnan())


@pytest.mark.parametrize("m", range(5))
def test_one_negative_out_of_range_gives_nan_terms(m):
    inputs = random_inputs(4, 5, 2, 64, False)
    inputs.neg_items[2, m] = 9
    terms, _, _, _ = kernels.ans_terms_forward(inputs, EPS, NOISE_SCALE, SEED)
    assert terms.isnan().all()


def test_no_pairs():
    inputs = random_inputs(4, 5, 2, 64, False)
    batch = ("user_gate", "users", "pos_items", "neg_items")
    none = inputs._replace(**{name: getattr(inputs, name)[:0] for name in batch})
    terms, selected, saved, _ = kernels.ans_terms_forward(none, EPS, NOISE_SCALE, SEED)
    assert (terms == 0).all()
    assert selected.shape == (0, 2)
    for deterministic in (False, True):
        gradients = kernels.ans_terms_backward(GRAD_TERMS, none, EPS, NOISE_SCALE, SEED, selected, saved, deterministic)
        assert not any(gradients[table].any() for table in (0, 1, 3))
