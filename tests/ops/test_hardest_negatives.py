"""hardest_negatives: reference against the formulas, and what the operators' cases leave out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ans_fast import ops


class Case:
    """Random arguments of shape (B, K, M, H, D); few items, so that ids repeat."""

    def __init__(self, pairs, chosen, candidates, hops, dim, gates=True, dtype=torch.float64, seed=0, items=11):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        self.floats = [normal(pairs, hops, dim), normal(items, hops, dim)]
        self.gates = [normal(items, hops, dim), normal(pairs, hops, dim)] if gates else []
        self.candidates = torch.randint(items, (pairs, chosen, candidates), generator=generator)

    def run(self, backend="fused", rest=0.4):
        with ops.backend(backend):
            return ops.hardest_negatives(*self.floats, self.candidates, *(self.gates or (None, None)), rest)


def literal_score(u, n, gates, rest):
    if not gates:
        return sum(x * y for x, y in zip(u, n, strict=True))
    open_ = [1 / (1 + math.exp(-(a + b))) for a, b in zip(*gates, strict=True)]
    return sum(x * (rest * y - y * g) for x, y, g in zip(u, n, open_, strict=True))


@pytest.mark.parametrize("gates", [False, True])
@pytest.mark.parametrize("shape", [(5, 2, 3, 2, 7), (1, 1, 1, 1, 1), (3, 1, 4, 3, 1), (2, 2, 5, 2, 100)])
def test_reference_is_the_formulas(shape, gates):
    case = Case(*shape, gates=gates)
    (users, items), ids = (t.tolist() for t in case.floats), case.candidates.tolist()
    gate_of = [t.tolist() for t in case.gates]
    got = case.run("reference").tolist()
    for b, rows in enumerate(ids):
        for k, row in enumerate(rows):
            for h, u in enumerate(users[b]):
                scores = [
                    literal_score(u, items[i][h], gates and (gate_of[0][i][h], gate_of[1][b][h]), 0.4) for i in row
                ]
                assert got[b][k][h] == row[scores.index(max(scores))]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 6),
    st.integers(0, 3),
    st.integers(1, 9),
    st.integers(0, 4),
    st.integers(0, 40),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_any_shape(pairs, chosen, candidates, hops, dim, gates, seed):
    case = Case(pairs, chosen, candidates, hops, dim, gates, seed=seed)
    got = case.run()
    assert got.shape == (pairs, chosen, hops)
    assert torch.equal(got, case.run("reference"))


@pytest.mark.parametrize("backend", ["reference", "fused"])
@pytest.mark.parametrize("gates", [False, True])
def test_ties_go_to_the_first(gates, backend):
    case = Case(4, 2, 6, 2, 8, gates)
    case.floats[1][:] = case.floats[1][0]
    if gates:
        case.gates[0][:] = case.gates[0][0]
    assert torch.equal(case.run(backend), case.candidates[:, :, :1].expand(-1, -1, 2))


@pytest.mark.parametrize("backend", ["reference", "fused"])
@pytest.mark.parametrize("at", [0, 3, 5])
def test_a_nan_is_never_the_hardest(at, backend):
    case = Case(4, 2, 6, 2, 8)
    case.floats[1][7] = math.nan
    case.candidates[:] = torch.arange(6)
    case.candidates[..., at] = 7
    assert (case.run(backend) != 7).all()
    case.floats[1][:] = math.nan
    assert torch.equal(case.run(backend), case.candidates[:, :, :1].expand(-1, -1, 2))


def test_the_choice_has_no_gradient():
    case = Case(4, 1, 6, 2, 8)
    case.floats = [tensor.requires_grad_() for tensor in case.floats]
    assert not case.run().requires_grad


@pytest.mark.parametrize("gates", [False, True])
def test_same_at_any_thread_count(gates, threads):
    case = Case(300, 1, 33, 4, 64, gates, dtype=torch.float32)
    results = []
    for n in (1, 2, 4):
        threads(n)
        results.append(case.run())
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_non_contiguous():
    case = Case(6, 2, 4, 2, 8)
    want = case.run()
    case.floats, case.gates = (
        [t.transpose(0, -1).contiguous().transpose(0, -1) for t in tensors] for tensors in (case.floats, case.gates)
    )
    case.candidates = case.candidates.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(case.run(), want)


@pytest.mark.parametrize("gates", [False, True])
def test_opcheck(gates):
    case = Case(6, 2, 3, 2, 8, gates, dtype=torch.float32)
    gate_rows = (*case.gates, torch.tensor(0.5, dtype=torch.float64)) if gates else (None, None, None)
    torch.library.opcheck(torch.ops.ans_fast.hardest_negatives, (*case.floats, case.candidates, *gate_rows))


@pytest.mark.compiles
def test_compiles_whole():
    case = Case(6, 2, 3, 2, 8)
    compiled = torch.compile(ops.hardest_negatives, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*case.floats, case.candidates, *case.gates, 0.4), case.run())


BAD = {
    "user_rows must be [B, H, D], got [6, 16]": lambda c: c.floats.__setitem__(0, c.floats[0].flatten(1)),
    "item_hops must be [n_items, H = 2, D = 8], got [11, 2, 7]": lambda c: c.floats.__setitem__(
        1, c.floats[1][..., :7]
    ),
    "item_hops must be float64, got float32": lambda c: c.floats.__setitem__(1, c.floats[1].float()),
    "user_rows must be float32 or float64 or bfloat16, got int64": lambda c: c.floats.__setitem__(
        0, c.floats[0].long()
    ),
    "candidates must be [B = 6, K, M], got [6, 8]": lambda c: setattr(c, "candidates", c.candidates.flatten(1)),
    "candidates must have at least one item a negative, got M = 0": lambda c: setattr(
        c, "candidates", c.candidates[..., :0]
    ),
    "candidates must be int64, got int32": lambda c: setattr(c, "candidates", c.candidates.int()),
    "candidates must be in [0, 11), got 11 at position 5": lambda c: c.candidates.view(-1).__setitem__(5, 11),
    "candidates must be in [0, 11), got -1 at position 0": lambda c: c.candidates.view(-1).__setitem__(0, -1),
    "item_gate must be [n_items = 11, H = 2, D = 8], got [5, 2, 8]": lambda c: c.gates.__setitem__(0, c.gates[0][:5]),
    "pos_gate must be [B = 6, H = 2, D = 8], got [6, 1, 8]": lambda c: c.gates.__setitem__(1, c.gates[1][:, :1]),
    "item_gate and pos_gate must be given together, got one of them": lambda c: c.gates.__setitem__(1, None),
}


@pytest.mark.parametrize("backend", ["reference", "fused"])
@pytest.mark.parametrize("message", BAD)
def test_errors_name_the_argument(message, backend):
    case = Case(6, 2, 4, 2, 8)
    BAD[message](case)
    with pytest.raises((ValueError, TypeError)) as raised:
        case.run(backend)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value).strip()


def test_a_direct_call_is_checked_too():
    case = Case(6, 2, 4, 2, 8)
    one = torch.ones(1, dtype=torch.float64)
    op = torch.ops.ans_fast.hardest_negatives
    with pytest.raises(ValueError, match="item_gate, pos_gate and rest must come together"):
        op(*case.floats, case.candidates, case.gates[0], None, one)
    with pytest.raises(ValueError, match="item_gate, pos_gate and rest must come together"):
        op(*case.floats, case.candidates, *case.gates, None)
    with pytest.raises(ValueError, match=r"rest must have one element, got \[2\]"):
        op(*case.floats, case.candidates, *case.gates, one.repeat(2))
    with pytest.raises(ValueError, match="rest must be float64"):
        op(*case.floats, case.candidates, *case.gates, one.float())
    with pytest.raises(ValueError, match="candidates' M must be in"):
        op(*case.floats, case.candidates[..., :0].contiguous(), None, None, None)
    with pytest.raises(ValueError, match=r"item_hops must be \[n_items, H, D\], got \[11, 2, 7\]"):
        op(case.floats[0], case.floats[1][..., :7].contiguous(), case.candidates, None, None, None)
    odd = torch.frombuffer(bytearray(6 * 2 * 8 * 8 + 1), dtype=torch.float64, offset=1).view(6, 2, 8)
    with pytest.raises(ValueError, match="user_rows must start at a multiple of its elements' 8 bytes"):
        op(odd, case.floats[1], case.candidates, None, None, None)


def test_no_negatives_of_very_many_pairs_end_at_once():
    rows = torch.empty(2**40, 3, 0)
    assert ops.hardest_negatives(rows, rows[:5], torch.empty(2**40, 0, 4, dtype=torch.int64)).shape == (2**40, 0, 3)


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_rest_may_be_a_tensor(backend, shape):
    case = Case(30, 2, 6, 2, 7, gates=True)
    rest = torch.full(shape, 0.4, dtype=torch.float64)
    assert torch.equal(case.run(backend, rest), case.run(backend, 0.4))
    assert not torch.equal(case.run(backend, rest + 0.6), case.run(backend, 0.4))


@pytest.mark.parametrize(
    ("rest", "error", "message"),
    [
        (torch.ones(1), TypeError, "rest must be float64, got float32"),
        (torch.ones(2, dtype=torch.float64), ValueError, r"rest must have one element, got \[2\]"),
        (torch.ones(1, dtype=torch.float64, device="meta"), ValueError, "rest must be on the CPU, got meta"),
    ],
)
def test_what_rest_must_be(rest, error, message):
    with pytest.raises(error, match=message):
        Case(3, 1, 2, 1, 4, gates=True).run(rest=rest)
