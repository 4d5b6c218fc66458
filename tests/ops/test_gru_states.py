"""gru_states: reference against the formulas, fused against torch.nn.GRU and the reference, both against bad input."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ans_fast import ops

LENGTHS = [[9, 9, 4, 1, 1, 0, 0], [3], [1, 1], [0, 0], [], [20] * 50 + [7] * 100 + [1] * 30]
SIZES = [1, 5, 16, 33, 100]


class Case:
    """Random arguments for sequences of `lengths`; few inputs, so that rows repeat."""

    def __init__(self, lengths: list[int], size: int, dtype=torch.float64, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

        self.lengths, self.n_sequences = lengths, len(lengths)
        self.inputs, self.weight, self.bias = normal(11, 3 * size), normal(3 * size, size), normal(size)
        self.weight.data /= math.sqrt(size)  # larger ones multiply rounding errors at every step
        self.sequences = [torch.randint(11, (length,), generator=generator) for length in lengths]
        steps = [[s[k] for s in self.sequences if len(s) > k] for k in range(max(lengths, default=0))]
        self.rows = torch.tensor([row for step in steps for row in step], dtype=torch.int64)
        self.sizes = torch.tensor([len(step) for step in steps], dtype=torch.int64)
        self.grad = torch.randn(len(lengths), size, generator=generator, dtype=torch.float64).to(dtype)

    @property
    def floats(self) -> tuple[Tensor, ...]:
        return self.inputs, self.weight, self.bias

    def run(self, backend: str = "fused") -> Tensor:
        with ops.backend(backend):
            return ops.gru_states(self.inputs, self.rows, self.sizes, self.weight, self.bias, self.n_sequences)

    def gradients(self, states: Tensor) -> tuple[Tensor, ...]:
        if not states.requires_grad:  # the reference's, where no sequence has a row
            return tuple(torch.zeros_like(tensor) for tensor in self.floats)
        return torch.autograd.grad(states, self.floats, self.grad)


def literal_state(case: Case, sequence: Tensor) -> list[float]:
    """A number at a time."""
    size = case.bias.shape[0]
    inputs, weight, bias = (tensor.tolist() for tensor in case.floats)
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    state = [0.0] * size
    for row in sequence.tolist():
        shares = [sum(w * h for w, h in zip(weights, state, strict=True)) for weights in weight]
        after = []
        for d in range(size):
            r, z = (sigmoid(inputs[row][gate * size + d] + shares[gate * size + d]) for gate in (0, 1))
            n = math.tanh(inputs[row][2 * size + d] + r * (shares[2 * size + d] + bias[d]))
            after.append((1 - z) * n + z * state[d])
        state = after
    return state


@pytest.mark.parametrize("lengths", LENGTHS[:5])
def test_reference_is_the_formulas(lengths):
    case = Case(lengths, 5)
    expected = [literal_state(case, sequence) for sequence in case.sequences]
    torch.testing.assert_close(
        case.run("reference"), torch.tensor(expected, dtype=torch.float64).reshape(len(lengths), 5)
    )


@pytest.mark.parametrize("lengths", LENGTHS, ids=len)
@pytest.mark.parametrize("size", SIZES)
def test_fused_is_the_reference(lengths, size):
    case = Case(lengths, size)
    found, expected = case.run(), case.run("reference")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(case.gradients(found), case.gradients(expected))

    single = Case(lengths, size, torch.float32)
    states = single.run()
    torch.testing.assert_close(states, expected.float(), rtol=1e-4, atol=1e-5)
    for got, want in zip(single.gradients(states), case.gradients(case.run("reference")), strict=True):
        assert (got - want).norm() <= 1e-5 * want.norm()


def test_it_is_torchs_gru():
    case = Case([9, 4, 4, 1], 7)
    unit = nn.GRU(21, 7, dtype=torch.float64)
    with torch.no_grad():
        unit.weight_ih_l0.copy_(torch.eye(21))
        unit.bias_ih_l0.zero_()
        unit.weight_hh_l0.copy_(case.weight)
        unit.bias_hh_l0.copy_(torch.cat([torch.zeros(14), case.bias]))
    for state, sequence in zip(case.run(), case.sequences, strict=True):
        torch.testing.assert_close(state, unit(case.inputs[sequence])[1][0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=60), st.integers(1, 40), st.integers(0, 2**31))
def test_any_shape(lengths, size, seed):
    case = Case(sorted(lengths, reverse=True), size, seed=seed)
    found, expected = case.run(), case.run("reference")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(case.gradients(found), case.gradients(expected))


@pytest.mark.parametrize("backend", ["reference", "fused"])
def test_gradcheck(backend):
    case = Case([4, 3, 3, 1, 0], 3)

    def states(inputs, weight, bias):
        with ops.backend(backend):
            return ops.gru_states(inputs, case.rows, case.sizes, weight, bias, case.n_sequences)

    assert torch.autograd.gradcheck(states, case.floats)


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_gradients_of_one_alone(wanted):
    case = Case([9, 4, 1], 6)
    expected = case.gradients(case.run("reference"))[wanted]
    for at, tensor in enumerate(case.floats):
        tensor.requires_grad_(at == wanted)
    torch.testing.assert_close(torch.autograd.grad(case.run(), case.floats[wanted], case.grad)[0], expected)


def test_backward_twice():
    case = Case([9, 4, 1], 6)
    states = case.run()
    first, second = (torch.autograd.grad(states, case.floats, case.grad, retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_nothing_is_saved_without_gradients():
    case = Case([9, 4, 1], 6)
    tensors = [tensor.detach() for tensor in (case.inputs, case.rows, case.sizes, case.weight, case.bias)]
    states, *saved = torch.ops.ans_fast.gru_states(*tensors, 3, False)
    assert all(tensor.numel() == 0 for tensor in saved)
    with torch.no_grad():
        assert torch.equal(case.run(), states)
    assert torch.equal(case.run(), states)


def test_same_at_any_thread_count(threads):
    case = Case(sorted(LENGTHS[-1] * 12, reverse=True), 33, torch.float32)
    results = []
    for n in (1, 2, 4):
        threads(n)
        states = case.run()
        results.append([states, *case.gradients(states)])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("level", ["baseline", "avx2", "avx512"])
def test_every_simd_level(level):
    code = (
        "from tests.ops import test_gru_states as t\n"
        "for lengths in t.LENGTHS:\n"
        "    for size in t.SIZES:\n"
        "        t.test_fused_is_the_reference(lengths, size)\n"
    )
    environment = os.environ | {"ANS_FAST_SIMD": level, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], env=environment, check=True)


def test_nan_stays_in_its_sequences():
    case = Case([9, 9, 4, 4, 1], 20)
    states = case.run()
    with torch.no_grad():
        case.inputs[case.sequences[2][1]] = math.nan
    hit = torch.tensor([bool((s == case.sequences[2][1]).any()) for s in case.sequences])
    assert hit.any()
    assert not hit.all()
    found = case.run()
    assert found[hit].isnan().all()
    assert torch.equal(found[~hit], states[~hit])


def test_large_numbers_saturate():
    case = Case([3, 2], 9, torch.float32)
    with torch.no_grad():
        case.inputs.mul_(1e30)
    states = case.run()
    assert states.abs().max() <= 1
    assert all(gradient.isfinite().all() for gradient in case.gradients(states))


def test_non_contiguous():
    case = Case([9, 4, 4], 6)
    want = case.run()
    case.inputs, case.weight = (t.detach().t().contiguous().t().requires_grad_() for t in (case.inputs, case.weight))
    case.rows = case.rows.repeat_interleave(2)[::2]
    got = case.run()
    assert torch.equal(got, want)
    torch.testing.assert_close(case.gradients(got), case.gradients(case.run("reference")))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opcheck(dtype):
    case = Case([5, 3, 1, 0], 6, dtype)
    op = torch.ops.ans_fast.gru_states
    torch.library.opcheck(op, (case.inputs, case.rows, case.sizes, case.weight, case.bias, 4, True))
    detached = [tensor.detach() for tensor in (case.inputs, case.rows, case.sizes, case.weight, case.bias)]
    torch.library.opcheck(op, (*detached, 4, False))
    saved = op(*detached, 4, True)[1:]
    torch.library.opcheck(torch.ops.ans_fast.gru_states_backward, (case.grad, *saved, *detached[:4]))


@pytest.mark.compiles
def test_compiles_whole():
    case = Case([5, 3, 1, 0], 6)
    compiled = torch.compile(ops.gru_states, fullgraph=True, backend="aot_eager")
    states = compiled(case.inputs, case.rows, case.sizes, case.weight, case.bias, 4)
    assert torch.equal(states, case.run())
    torch.testing.assert_close(case.gradients(states), case.gradients(case.run("reference")))


BAD = {
    "weight must be [3H, H], got [18]": lambda c: setattr(c, "weight", c.weight[:, 0]),
    "weight must be [3H = 18, H = 6], got [17, 6]": lambda c: setattr(c, "weight", c.weight[1:]),
    "weight must have H of at least 1, got [0, 0]": lambda c: setattr(c, "weight", c.weight[:0, :0]),
    "inputs must be [U, 3H = 18], got [11, 17]": lambda c: setattr(c, "inputs", c.inputs[:, 1:]),
    "inputs must be float32 or float64, got float16": lambda c: setattr(c, "inputs", c.inputs.half()),
    "bias must be [H = 6], got [5]": lambda c: setattr(c, "bias", c.bias[1:]),
    "bias must be float64, got float32": lambda c: setattr(c, "bias", c.bias.float()),
    "rows must be [P], got [1, 8]": lambda c: setattr(c, "rows", c.rows[None]),
    "rows must be int64, got int32": lambda c: setattr(c, "rows", c.rows.int()),
    "rows must be in [0, 11), got 11 at position 5": lambda c: c.rows.__setitem__(5, 11),
    "rows must be in [0, 11), got -1 at position 0": lambda c: c.rows.__setitem__(0, -1),
    "sizes must be [n_steps], got []": lambda c: setattr(c, "sizes", c.sizes[0]),
    "sizes must be int64, got float32": lambda c: setattr(c, "sizes", c.sizes.float()),
    "sizes must be in [0, 2] after 2 sequences, got 3 at position 1": lambda c: c.sizes.copy_(
        torch.tensor([2, 3, 1, 1, 1])
    ),
    "sizes must be in [0, 3] after 3 sequences, got 9 at position 0": lambda c: c.sizes.__setitem__(0, 9),
    "sizes must be in [0, 1] after 1 sequences, got -1 at position 4": lambda c: c.sizes.__setitem__(4, -1),
    "sizes must add up to 8 rows, got 7": lambda c: setattr(c, "sizes", c.sizes[:4]),
}


@pytest.mark.parametrize("backend", ["reference", "fused"])
@pytest.mark.parametrize("message", BAD)
def test_errors_name_the_argument(message, backend):
    case = Case([5, 2, 1], 6)
    case.sizes.copy_(torch.tensor([2, 2, 2, 1, 1]))
    case.floats[0].requires_grad_(False)
    BAD[message](case)
    with pytest.raises((ValueError, TypeError)) as raised:
        case.run(backend)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value).strip()


def test_a_direct_call_is_checked_too():
    case = Case([5, 2, 1], 6)
    tensors = [tensor.detach() for tensor in (case.inputs, case.rows, case.sizes, case.weight, case.bias)]
    op, backward = torch.ops.ans_fast.gru_states, torch.ops.ans_fast.gru_states_backward
    with pytest.raises(ValueError, match=r"weight must be \[3H, H\], got \[17, 6\]"):
        op(*tensors[:3], tensors[3][1:], tensors[4], 3, False)
    with pytest.raises(ValueError, match="inputs must be of weight's dtype"):
        op(tensors[0].float(), *tensors[1:], 3, False)
    with pytest.raises(ValueError, match="n_sequences must be in"):
        op(*tensors, -1, False)
    saved = op(*tensors, 3, True)[1:]
    with pytest.raises(ValueError, match=r"gates must be \[P, 4, H rounded up to 16\], got \[0, 4, 16\]"):
        backward(case.grad, saved[0][:0], saved[1], *tensors[:4])
    with pytest.raises(ValueError, match=r"grad must be \[B, H\], got \[3, 5\]"):
        backward(case.grad[:, 1:].contiguous(), *saved, *tensors[:4])
