"""A gated recurrent unit over sequences of ids."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ans_fast import ops
from ans_fast.nn.gather import rows_at


def last_states(unit: nn.GRU, table: Tensor, ids: Tensor, sizes: list[int], n_rows: int) -> Tensor:
    """The last state of `unit` after each sequence, with gradients for its parameters and the table.

    Args:
        unit: one layer, one direction, input D, state H. table: [n, D].
        ids: int64 [P], rows of the table: the first of every sequence, then all second ones, and so on.
        sizes: how many sequences have a first one, a second one, …; P together, falling, each at least 1.
        n_rows: B, sequences, long before short; those beyond sizes[0] are empty.

    Returns:
        [B, H]; zeros for an empty sequence.
    """
    steps = torch.tensor(sizes, dtype=torch.int64)
    if table.device.type == "cpu":
        parameters = (unit.weight_ih_l0, unit.weight_hh_l0, unit.bias_ih_l0, unit.bias_hh_l0)
        return ops.gru_states(table, ids, steps, n_rows, *parameters)
    if not sizes:
        return table.new_zeros(n_rows, unit.hidden_size)
    last = unit(PackedSequence(rows_at(table, ids), steps))[1][-1]
    return F.pad(last, (0, 0, 0, n_rows - sizes[0]))
