"""gru_states: reference against the formulas, fused against torch.nn.GRU, and what the operators' cases leave out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ans_fast import ops


class Case:
    """Random arguments for sequences of `lengths`; few ids, so that they repeat."""

    def __init__(self, lengths: list[int], dim: int, size: int, dtype=torch.float64, seed: int = 0, n: int = 11):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        self.lengths, self.n_sequences = lengths, len(lengths)
        self.table, self.weight_ih, self.bias_ih = normal(n, dim), normal(3 * size, dim), normal(3 * size)
        self.weight_hh, self.bias_hh = normal(3 * size, size), normal(3 * size)
        self.weight_hh /= math.sqrt(size)  # larger ones multiply rounding errors at every step
        for tensor in self.floats:
            tensor.requires_grad_()
        self.sequences = [torch.randint(1, n, (length,), generator=generator) for length in lengths]  # 0 is in none
        steps = [[s[k] for s in self.sequences if len(s) > k] for k in range(max(lengths, default=0))]
        self.ids = torch.tensor([id_ for step in steps for id_ in step], dtype=torch.int64)
        self.sizes = torch.tensor([len(step) for step in steps], dtype=torch.int64)
        self.grad = normal(len(lengths), size)

    @property
    def floats(self) -> tuple[Tensor, ...]:
        return self.table, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    @property
    def arguments(self) -> tuple:
        return self.table, self.ids, self.sizes, self.n_sequences, *self.floats[1:]

    def run(self, backend: str = "fused") -> Tensor:
        with ops.backend(backend):
            return ops.gru_states(*self.arguments)

    def gradients(self, states: Tensor) -> tuple[Tensor, ...]:
        if not states.requires_grad:  # the reference's, where no sequence has an id
            return tuple(torch.zeros_like(tensor) for tensor in self.floats)
        return torch.autograd.grad(states, self.floats, self.grad)


def literal_state(case: Case, sequence: Tensor) -> list[float]:
    """A number at a time."""
    table, weight_ih, weight_hh, bias_ih, bias_hh = (tensor.tolist() for tensor in case.floats)
    size = len(weight_hh[0])

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    def shares(weight: list[list[float]], bias: list[float], vector: list[float]) -> list[float]:
        return [sum(w * x for w, x in zip(row, vector, strict=True)) + b for row, b in zip(weight, bias, strict=True)]

    state = [0.0] * size
    for id_ in sequence.tolist():
        i, s = shares(weight_ih, bias_ih, table[id_]), shares(weight_hh, bias_hh, state)
        for d in range(size):
            r, z = sigmoid(i[d] + s[d]), sigmoid(i[size + d] + s[size + d])
            n = math.tanh(i[2 * size + d] + r * s[2 * size + d])
            state[d] = (1 - z) * n + z * state[d]
    return state


@pytest.mark.parametrize("lengths", [[9, 9, 4, 1, 1, 0, 0], [3], [1, 1], [0, 0], []])
def test_reference_is_the_formulas(lengths):
    case = Case(lengths, 3, 5)
    expected = [literal_state(case, sequence) for sequence in case.sequences]
    torch.testing.assert_close(
        case.run("reference"), torch.tensor(expected, dtype=torch.float64).reshape(len(lengths), 5)
    )


def test_many_blocks():
    case = Case([3] * 300 + [2] * 900 + [1] * 400, 3, 4, n=2_000)
    found, expected = case.run(), case.run("reference")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(case.gradients(found), case.gradients(expected))


def test_it_is_torchs_gru():
    case = Case([9, 4, 4, 1], 3, 7)
    unit = nn.GRU(3, 7, dtype=torch.float64)
    with torch.no_grad():
        for parameter, value in zip(unit.parameters(), case.floats[1:], strict=True):
            parameter.copy_(value)
    for state, sequence in zip(case.run(), case.sequences, strict=True):
        torch.testing.assert_close(state, unit(case.table[sequence])[1][0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=60), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
def test_any_shape(lengths, dim, size, seed):
    case = Case(sorted(lengths, reverse=True), dim, size, seed=seed)
    found, expected = case.run(), case.run("reference")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(case.gradients(found), case.gradients(expected))


@pytest.mark.parametrize("backend", ["reference", "fused"])
def test_gradcheck(backend):
    case = Case([4, 3, 3, 1, 0], 2, 3)

    def states(table, *parameters):
        with ops.backend(backend):
            return ops.gru_states(table, case.ids, case.sizes, case.n_sequences, *parameters)

    assert torch.autograd.gradcheck(states, case.floats)


@pytest.mark.parametrize("wanted", range(5))
def test_gradients_of_one_alone(wanted):
    case = Case([9, 4, 1], 5, 6)
    expected = case.gradients(case.run("reference"))[wanted]
    for at, tensor in enumerate(case.floats):
        tensor.requires_grad_(at == wanted)
    torch.testing.assert_close(torch.autograd.grad(case.run(), case.floats[wanted], case.grad)[0], expected)


def test_backward_twice():
    case = Case([9, 4, 1], 5, 6)
    states = case.run()
    first, second = (torch.autograd.grad(states, case.floats, case.grad, retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_nothing_is_saved_without_gradients():
    case = Case([9, 4, 1], 5, 6)
    states, *saved = torch.ops.ans_fast.gru_states(*detached(case), False)
    assert all(tensor.numel() == 0 for tensor in saved)
    with torch.no_grad():
        assert torch.equal(case.run(), states)
    assert torch.equal(case.run(), states)


def test_same_at_any_thread_count(threads):
    case = Case([20] * 600 + [7] * 1200 + [1] * 360, 20, 33, torch.float32)
    results = []
    for n in (1, 2, 4):
        threads(n)
        states = case.run()
        results.append([states, *case.gradients(states)])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_nan_stays_in_its_sequences():
    case = Case([9, 9, 4, 4, 1], 5, 20)
    states = case.run()
    with torch.no_grad():
        case.table[case.sequences[2][1]] = math.nan
    hit = torch.tensor([bool((s == case.sequences[2][1]).any()) for s in case.sequences])
    assert hit.any()
    assert not hit.all()
    found = case.run()
    assert found[hit].isnan().all()
    assert torch.equal(found[~hit], states[~hit])


def test_large_numbers_saturate():
    case = Case([3, 2], 4, 9, torch.float32)
    with torch.no_grad():
        case.table.mul_(1e30)
    states = case.run()
    assert states.abs().max() <= 1
    assert all(gradient.isfinite().all() for gradient in case.gradients(states))


def test_non_contiguous():
    case = Case([9, 4, 4], 5, 6)
    want = case.run()
    case.table, case.weight_ih, case.weight_hh = (
        t.detach().t().contiguous().t().requires_grad_() for t in (case.table, case.weight_ih, case.weight_hh)
    )
    case.ids = case.ids.repeat_interleave(2)[::2]
    got = case.run()
    assert torch.equal(got, want)
    torch.testing.assert_close(case.gradients(got), case.gradients(case.run("reference")))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_need_not_begin_at_the_boundary_of_a_register(dtype):
    case = Case([5, 4, 2], 16, 16, dtype)
    op, backward = torch.ops.ans_fast.gru_states, torch.ops.ans_fast.gru_states_backward
    table, ids, sizes, n, weight_ih, weight_hh, *biases = detached(case)
    states, gates, after = op(table, ids, sizes, n, weight_ih, weight_hh, *biases, True)
    want = backward(case.grad, gates, after, table, ids, sizes, weight_ih, weight_hh)

    def shifted(rows: Tensor) -> Tensor:
        return rows.new_zeros(rows.numel() + 1)[1:].view_as(rows).copy_(rows)

    weights = [shifted(weight) for weight in (weight_ih, weight_hh)]
    assert torch.equal(op(shifted(table), ids, sizes, n, *weights, *map(shifted, biases), False)[0], states)
    got = backward(shifted(case.grad), shifted(gates), shifted(after), shifted(table), ids, sizes, *weights)
    assert all(torch.equal(one, other) for one, other in zip(got, want, strict=True))


def detached(case: Case) -> list:
    return [value.detach() if isinstance(value, Tensor) else value for value in case.arguments]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opcheck(dtype):
    case = Case([5, 3, 1, 0], 5, 6, dtype)
    op = torch.ops.ans_fast.gru_states
    torch.library.opcheck(op, (*case.arguments, True))
    torch.library.opcheck(op, (*detached(case), False))
    table, ids, sizes, _, weight_ih, weight_hh, *_ = detached(case)
    saved = op(*detached(case), True)[1:]
    backward = torch.ops.ans_fast.gru_states_backward
    torch.library.opcheck(backward, (case.grad, *saved, table, ids, sizes, weight_ih, weight_hh))


@pytest.mark.compiles
def test_compiles_whole():
    case = Case([5, 3, 1, 0], 5, 6)
    compiled = torch.compile(ops.gru_states, fullgraph=True, backend="aot_eager")
    states = compiled(*case.arguments)
    assert torch.equal(states, case.run())
    torch.testing.assert_close(case.gradients(states), case.gradients(case.run("reference")))


BAD = {
    "table must be [n, D], got [11]": lambda c: setattr(c, "table", c.table[:, 0]),
    "table must have D of at least 1, got 0": lambda c: setattr(c, "table", c.table[:, :0]),
    "table must be float32 or float64, got float16": lambda c: setattr(c, "table", c.table.half()),
    "weight_hh must be [3H, H], got [18]": lambda c: setattr(c, "weight_hh", c.weight_hh[:, 0]),
    "weight_hh must have H of at least 1, got 0": lambda c: setattr(c, "weight_hh", c.weight_hh[:, :0]),
    "weight_hh must be [3H = 18, H = 6], got [17, 6]": lambda c: setattr(c, "weight_hh", c.weight_hh[1:]),
    "weight_ih must be [3H = 18, D = 5], got [18, 4]": lambda c: setattr(c, "weight_ih", c.weight_ih[:, 1:]),
    "bias_ih must be [3H = 18], got [17]": lambda c: setattr(c, "bias_ih", c.bias_ih[1:]),
    "bias_hh must be [3H = 18], got [18, 1]": lambda c: setattr(c, "bias_hh", c.bias_hh[:, None]),
    "bias_hh must be float64, got float32": lambda c: setattr(c, "bias_hh", c.bias_hh.float()),
    "ids must be [P], got [1, 8]": lambda c: setattr(c, "ids", c.ids[None]),
    "ids must be int64, got int32": lambda c: setattr(c, "ids", c.ids.int()),
    "ids must be in [0, 11), got 11 at position 5": lambda c: c.ids.__setitem__(5, 11),
    "ids must be in [0, 11), got -1 at position 0": lambda c: c.ids.__setitem__(0, -1),
    "sizes must be [n_steps], got []": lambda c: setattr(c, "sizes", c.sizes[0]),
    "sizes must be int64, got float32": lambda c: setattr(c, "sizes", c.sizes.float()),
    "sizes must be in [0, 2] after 2 sequences, got 3 at position 1": lambda c: c.sizes.copy_(
        torch.tensor([2, 3, 1, 1, 1])
    ),
    "sizes must be in [0, 3] after 3 sequences, got 9 at position 0": lambda c: c.sizes.__setitem__(0, 9),
    "sizes must be in [0, 1] after 1 sequences, got -1 at position 4": lambda c: c.sizes.__setitem__(4, -1),
    "sizes must add up to 8 ids, got 7": lambda c: setattr(c, "sizes", c.sizes[:4]),
}


@pytest.mark.parametrize("backend", ["reference", "fused"])
@pytest.mark.parametrize("message", BAD)
def test_errors_name_the_argument(message, backend):
    case = Case([5, 2, 1], 5, 6)
    case.sizes.copy_(torch.tensor([2, 2, 2, 1, 1]))
    BAD[message](case)
    with pytest.raises((ValueError, TypeError)) as raised:
        case.run(backend)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value).strip()


def test_a_direct_call_is_checked_too():
    case = Case([5, 2, 1], 5, 6)
    op, backward = torch.ops.ans_fast.gru_states, torch.ops.ans_fast.gru_states_backward
    table, ids, sizes, n, weight_ih, weight_hh, *biases = detached(case)
    with pytest.raises(ValueError, match=r"weight_hh must be \[3H, H\], got \[17, 6\]"):
        op(table, ids, sizes, n, weight_ih, weight_hh[1:], *biases, False)
    with pytest.raises(ValueError, match="weight_ih must be of table's dtype"):
        op(table, ids, sizes, n, weight_ih.float(), weight_hh, *biases, False)
    with pytest.raises(ValueError, match="n_sequences must be in"):
        op(table, ids, sizes, -1, weight_ih, weight_hh, *biases, False)
    gates, after = op(*detached(case), True)[1:]
    with pytest.raises(ValueError, match=r"gates must be \[P, 4, H rounded up to 16\], got \[0, 4, 16\]"):
        backward(case.grad, gates[:0], after, table, ids, sizes, weight_ih, weight_hh)
    with pytest.raises(ValueError, match=r"grad must be \[B, H\], got \[3, 5\]"):
        backward(case.grad[:, 1:].contiguous(), gates, after, table, ids, sizes, weight_ih, weight_hh)
