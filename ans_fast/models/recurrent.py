"""A gated recurrent unit over sequences of ids, fast on the CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence

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
    seen, at = ids.unique(return_inverse=True)
    inputs = F.linear(rows_at(table, seen), unit.weight_ih_l0, unit.bias_ih_l0)  # once an id, not once a click
    return _LastStates.apply(inputs, unit.weight_hh_l0, unit.bias_hh_l0, n_rows, *at.split(sizes))


class _LastStates(torch.autograd.Function):
    """nn.GRU's recurrence. torch's own writes gradients of all steps at every step; this one's buffers are a step's,
    small enough to stay in the cache.

    With gates r, z and n of a step as torch names them, h before it, and i and s the gates' shares of input and state:
    r = σ(i_r + s_r), z = σ(i_z + s_z), n = tanh(i_n + r s_n), and n + z (h − n) after it.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, n_rows: int, *steps: Tensor) -> Tensor:
        """inputs [U, 3H] with rows at `steps`, weight [3H, H], bias [3H] -> [n_rows, H]."""
        size = weight.shape[1]
        state, done, saved = inputs.new_zeros(n_rows, size), [], []
        for at in steps:
            before, rest = state.split([len(at), len(state) - len(at)])
            done.append(rest)
            shares = torch.addmm(bias, before, weight.t()) if saved else bias.expand(len(at), -1)  # first, h is 0
            gates = inputs.index_select(0, at)
            r, z, n = gates.split(size, 1)
            gates[:, : 2 * size].add_(shares[:, : 2 * size]).sigmoid_()
            n.addcmul_(r, shares[:, 2 * size :]).tanh_()
            state = torch.lerp(n, before, z)
            saved += [at, before, gates, shares[:, 2 * size :]]
        ctx.save_for_backward(inputs, weight, *saved)
        return torch.cat([state, *reversed(done)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, *saved = ctx.saved_tensors
        size, n_steps = weight.shape[1], len(saved) // 4
        grad_inputs, grad_weight = torch.zeros_like(inputs), torch.zeros_like(weight)
        grad_bias, buffer = weight.new_zeros(len(weight)), grad.new_empty(len(grad), 3 * size)
        grad_state = grad[:0]
        for step in reversed(range(n_steps)):
            at, before, gates, share = saved[4 * step : 4 * step + 4]
            grad_state = torch.cat([grad_state, grad[len(grad_state) : len(at)]])
            r, z, n = gates.split(size, 1)
            change = buffer[: len(at)]  # of the loss with the gates before σ and tanh
            change_r, change_z, change_n = change.split(size, 1)
            kept = grad_state * z
            torch.ops.aten.tanh_backward.grad_input(grad_state - kept, n, grad_input=change_n)
            torch.mul(change_n, share, out=change_r)
            torch.sub(before, n, out=change_z).mul_(grad_state)
            both = change[:, : 2 * size]
            torch.ops.aten.sigmoid_backward.grad_input(both, gates[:, : 2 * size], grad_input=both)
            grad_inputs.index_add_(0, at, change)
            change_n.mul_(r)  # now with the state's shares
            grad_bias += change.sum(0)
            if step:
                grad_weight.addmm_(change.t(), before)
                grad_state = kept.addmm_(change, weight)
        return grad_inputs, grad_weight, grad_bias, None, *[None] * n_steps
