"""A gated recurrent unit over sequences of ids."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ans_fast import ops
from ans_fast.models.gather import rows_at


def last_states(unit: nn.GRU, table: Tensor, ids: Tensor, sizes: list[int], n_rows: int) -> Tensor:
    """What `unit` remembers of each sequence, with gradients for its parameters and the table.

    Args:
        unit: one layer, one direction, input D, state H. table: [n, D].
        ids: int64 [P], rows of the table: the first of every sequence, then all second ones, and so on.
        sizes: how many sequences have a first one, a second one, …; P together, falling, each at least 1.
        n_rows: B, sequences, long before short; those beyond sizes[0] are empty.

    Returns:
        [B, H]; zeros for an empty sequence.
    """
    if table.device.type != "cpu":
        if not sizes:
            return table.new_zeros(n_rows, unit.hidden_size)
        packed = PackedSequence(rows_at(table, ids), torch.tensor(sizes))
        return F.pad(unit(packed)[1][-1], (0, 0, 0, n_rows - sizes[0]))
    seen, at = ids.unique(return_inverse=True)  # an input is multiplied once an id, not once a click
    bias, bias_n = unit.bias_hh_l0.split([2 * unit.hidden_size, unit.hidden_size])
    inputs = F.linear(rows_at(table, seen), unit.weight_ih_l0, unit.bias_ih_l0 + F.pad(bias, (0, len(bias_n))))
    steps = torch.tensor(sizes, dtype=torch.int64)
    return ops.gru_states(inputs, at, steps, unit.weight_hh_l0, bias_n, n_rows)
