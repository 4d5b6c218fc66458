"""hardest_negatives.cu on the CPU: the CPU kernels' choices, and the float64 reference's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ans_fast import ops, reference
from tests.simt import kernels

REST = 0.5  # a half, so that whole rows with open or shut gates have exact scores
#        B   K  M  H  D
SHAPES = [
    (1, 1, 1, 1, 1),
    (5, 2, 3, 2, 7),
    (1, 2, 9, 4, 33),
    (3, 3, 6, 1, 64),
    (70, 3, 5, 4, 64),  # more teams' work than the grid holds
    (9, 1, 32, 4, 64),
    (4, 2, 5, 2, 100),
    (5, 1, 7, 3, 128),
    (2, 2, 4, 4, 256),
    (30, 1, 6, 1, 300),  # more blocks' work than the grid holds
    (2, 2, 5, 2, 1000),
    (1, 1, 4, 2, 1024),
]


def random_inputs(shape: tuple, gates: bool, dtype: torch.dtype = torch.float32) -> tuple[Tensor | None, ...]:
    """user_rows, item_hops, candidates, item_gate, pos_gate; few items, so that ids repeat."""
    pairs, chosen, candidates, hops, dim = shape
    generator, items = torch.Generator().manual_seed(sum(shape)), 11
    user_rows, item_hops, item_gate, pos_gate = (
        torch.randn(n, hops, dim, generator=generator).to(dtype) for n in (pairs, items, items, pairs)
    )
    ids = torch.randint(items, (pairs, chosen, candidates), generator=generator)
    return user_rows, item_hops, ids, *((item_gate, pos_gate) if gates else (None, None))


def whole_inputs(shape: tuple, gates: bool) -> tuple[Tensor | None, ...]:
    """Small whole rows and gates that are open or shut: scores are exact in any order of adding, and many are equal."""
    user_rows, item_hops, ids, *gate_rows = random_inputs(shape, gates)
    rows = [tensor.round().clamp(-1, 1) for tensor in (user_rows, item_hops)]
    return *rows, ids, *(None if gate is None else gate.sign() * 200 for gate in gate_rows)


def wide(inputs: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return tuple(t.double() if t is not None and t.is_floating_point() else t for t in inputs)


@pytest.mark.parametrize("gates", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "B{}-K{}-M{}-H{}-D{}".format(*shape))
def test_choices(shape, gates):
    for inputs in (random_inputs(shape, gates), whole_inputs(shape, gates)):
        got = kernels.hardest_negatives(*inputs, REST)
        assert torch.equal(got, ops.hardest_negatives(*inputs, REST))
        assert torch.equal(got, reference.hardest_negatives(*wide(inputs), REST))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("dim", [64, 300])
def test_other_orders_of_threads_and_blocks(dim, order):
    inputs = random_inputs((6, 2, 7, 2, dim), True)
    with kernels.in_order(order):
        got = kernels.hardest_negatives(*inputs, REST)
    assert torch.equal(got, ops.hardest_negatives(*inputs, REST))


@pytest.mark.parametrize("gates", [False, True])
@pytest.mark.parametrize("candidates", [2, 4, 5, 11])
def test_ties_go_to_the_first(candidates, gates):
    user_rows, item_hops, _, *gate_rows = random_inputs((4, 2, candidates, 2, 64), gates)
    for rows in (item_hops, gate_rows[0]) if gates else (item_hops,):
        rows[:] = rows[0]
    ids = torch.arange(10, 10 - candidates, -1).remainder(11).expand(4, 2, -1).contiguous()
    got = kernels.hardest_negatives(user_rows, item_hops, ids, *gate_rows, REST)
    assert (got == 10).all()


@pytest.mark.parametrize("at", [0, 1, 4])
def test_a_nan_is_never_the_hardest(at):
    user_rows, item_hops, *_ = random_inputs((3, 1, 5, 2, 64), False)
    item_hops[7] = torch.nan
    ids = torch.arange(5).expand(3, 1, -1).contiguous()
    ids[..., at] = 7
    got = kernels.hardest_negatives(user_rows, item_hops, ids)
    assert torch.equal(got, ops.hardest_negatives(user_rows, item_hops, ids))
    assert torch.equal(got, reference.hardest_negatives(user_rows, item_hops, ids))
    assert (got != 7).all()


def test_infinite_scores():
    user_rows, item_hops, ids, *_ = random_inputs((3, 2, 6, 2, 64), False)
    for sign in (1, -1):
        infinite = torch.full_like(item_hops, sign * torch.inf)
        got = kernels.hardest_negatives(user_rows.abs(), infinite, ids)
        assert torch.equal(got, ids[..., :1].expand_as(got))


@pytest.mark.parametrize("item", [11, -1, 2**40, -(2**40)])
@pytest.mark.parametrize("at", [0, 3, 5])
@pytest.mark.parametrize("dim", [7, 64, 300])
def test_among_candidates_out_of_range_there_is_no_choice(dim, at, item):
    inputs = random_inputs((3, 2, 6, 2, dim), True)
    want = kernels.hardest_negatives(*inputs, REST)
    inputs[2][1, 0, at] = item
    want[1, 0] = kernels.NO_ITEM
    assert torch.equal(kernels.hardest_negatives(*inputs, REST), want)


@pytest.mark.parametrize("shape", [(0, 2, 3, 2, 8), (4, 0, 3, 2, 8), (4, 2, 3, 0, 8)])
@pytest.mark.parametrize("gates", [False, True])
def test_nothing_to_choose(shape, gates):
    pairs, chosen, _, hops, _ = shape
    assert kernels.hardest_negatives(*random_inputs(shape, gates)).shape == (pairs, chosen, hops)


def test_rows_without_columns_give_the_first():
    inputs = random_inputs((4, 2, 5, 3, 0), True)
    got = kernels.hardest_negatives(*inputs)
    assert torch.equal(got, inputs[2][..., :1].expand_as(got))


def test_rest_is_read_where_the_kernel_runs():
    """So that a captured graph can be replayed with another."""
    inputs, rest = random_inputs((70, 3, 5, 4, 64), gates=True), torch.tensor(0.9, dtype=torch.float64)
    for value in (0.9, 0.1):
        rest.fill_(value)
        assert torch.equal(kernels.hardest_negatives(*inputs, rest), ops.hardest_negatives(*inputs, value))
    assert not torch.equal(ops.hardest_negatives(*inputs, 0.9), ops.hardest_negatives(*inputs, 0.1))
