"""The recurrent unit against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ans_fast.nn.recurrent import last_states


def literal_states(unit: nn.GRU, table: Tensor, sequences: list[Tensor]) -> Tensor:
    """nn.GRU, a sequence at a time."""
    states = [unit(table[ids])[1][-1] if len(ids) else table.new_zeros(unit.hidden_size) for ids in sequences]
    return torch.stack(states) if states else table.new_zeros(0, unit.hidden_size)


def packed(sequences: list[Tensor]) -> tuple[Tensor, list[int], int]:
    """ids, sizes and n_rows of sequences that get shorter."""
    longest = max((len(ids) for ids in sequences), default=0)
    steps = [torch.stack([ids[step] for ids in sequences if len(ids) > step]) for step in range(longest)]
    ids = torch.cat(steps) if steps else torch.empty(0, dtype=torch.int64)
    return ids, [len(step) for step in steps], len(sequences)


def random_case(lengths: list[int], dim: int, size: int, device: str = "cpu") -> tuple[nn.GRU, Tensor, list[Tensor]]:
    torch.manual_seed(0)
    table = torch.randn(11, dim, dtype=torch.float64, device=device, requires_grad=True)
    sequences = [torch.randint(11, (length,), device=device) for length in lengths]
    return nn.GRU(dim, size, dtype=torch.float64, device=device), table, sequences


@pytest.mark.parametrize(("dim", "size"), [(1, 1), (7, 5), (64, 100)])
@pytest.mark.parametrize("lengths", [[9, 9, 4, 1, 1, 0, 0], [3], [1, 1], [0, 0], []])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_states_and_gradients_are_torchs(lengths, dim, size, device):
    unit, table, sequences = random_case(lengths, dim, size, device)
    found = last_states(unit, table, *packed(sequences))
    expected = literal_states(unit, table, sequences)
    torch.testing.assert_close(found, expected)
    if sum(lengths):
        weight, inputs = torch.randn_like(found), [table, *unit.parameters()]
        torch.testing.assert_close(
            torch.autograd.grad((found * weight).sum(), inputs), torch.autograd.grad((expected * weight).sum(), inputs)
        )


def test_gradcheck():
    unit, table, sequences = random_case([4, 3, 3, 1, 0], 3, 2)
    arguments = packed(sequences)  # gradcheck changes its inputs in place, the unit's own parameters too
    assert torch.autograd.gradcheck(lambda *_: last_states(unit, table, *arguments), (table, *unit.parameters()))
