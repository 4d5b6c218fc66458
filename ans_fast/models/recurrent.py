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
    size = unit.hidden_size
    scale = torch.cat([table.new_ones(2 * size), table.new_full((size,), 2)])  # of r's, z's and n's rows
    weight = 2 * scale[:, None] * unit.weight_hh_l0
    bias = scale * unit.bias_hh_l0 - weight.sum(1) / 2
    bias_in = scale * unit.bias_ih_l0 + F.pad(bias[: 2 * size], (0, size))  # i_r + s_r is all that r wants, and z too
    seen, at = ids.unique(return_inverse=True)
    inputs = F.linear(rows_at(table, seen), scale[:, None] * unit.weight_ih_l0, bias_in)  # once an id, not once a click
    return 2 * _LastStates.apply(inputs, weight, bias[2 * size :], n_rows, *at.split(sizes)) - 1


class _LastStates(torch.autograd.Function):
    """nn.GRU's recurrence. torch's own writes gradients of all steps at every step; this one's buffers are a step's,
    small enough to stay in the cache.

    With gates r, z and n of a step as torch names them, h before it, and i and s the gates' shares of input and state:
    r = σ(i_r + s_r), z = σ(i_z + s_z), n = tanh(i_n + r s_n), and n + z (h − n) after it. As tanh(x) = 2σ(2x) − 1 and σ
    takes a third of tanh's time, n and h are kept as (n + 1)/2 and (h + 1)/2: the last formula stays as it is, and
    weights and biases are scaled to fit.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, n_rows: int, *steps: Tensor) -> Tensor:
        """inputs [U, 3H] with rows at `steps`, weight [3H, H], bias [H] of n's share -> [n_rows, H]."""
        size = weight.shape[1]
        of_both, of_n = weight.t().split([2 * size, size], 1)
        at_first = weight.sum(1) / 2  # the shares of the first state, 1/2 throughout
        state, done, saved = inputs.new_full((n_rows, size), 0.5), [], []
        for at in steps:
            before, rest = state.split([len(at), len(state) - len(at)])
            done.append(rest)
            gates = inputs.index_select(0, at)
            both, n = gates.split([2 * size, size], 1)
            if saved:
                both.addmm_(before, of_both)
                share = torch.addmm(bias, before, of_n)
            else:
                both += at_first[: 2 * size]
                share = (bias + at_first[2 * size :]).expand_as(n)
            r, z = both.sigmoid_().split(size, 1)
            n.addcmul_(r, share).sigmoid_()
            state = torch.lerp(n, before, z)
            saved += [at, before, gates, share]
        ctx.save_for_backward(inputs, weight, *saved)
        return torch.cat([state, *reversed(done)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, *saved = ctx.saved_tensors
        size, n_steps = weight.shape[1], len(saved) // 4
        grad_inputs, grad_weight = torch.zeros_like(inputs), torch.zeros_like(weight)
        grad_bias, buffer = weight.new_zeros(size), grad.new_empty(len(grad), 3 * size)
        grads = grad.clone()  # of all sequences' states, each as of its last step or the one at hand
        for step in reversed(range(n_steps)):
            at, before, gates, share = saved[4 * step : 4 * step + 4]
            grad_state, (r, z, n) = grads[: len(at)], gates.split(size, 1)
            change = buffer[: len(at)]  # of the loss with the gates before σ
            change_r, change_z, change_n = change.split(size, 1)
            kept = grad_state * z
            torch.ops.aten.sigmoid_backward.grad_input(grad_state - kept, n, grad_input=change_n)
            torch.mul(change_n, share, out=change_r)
            torch.sub(before, n, out=change_z).mul_(grad_state)
            both = change[:, : 2 * size]
            torch.ops.aten.sigmoid_backward.grad_input(both, gates[:, : 2 * size], grad_input=both)
            grad_inputs.index_add_(0, at, change)
            change_n.mul_(r)  # now with the state's share
            grad_bias += change_n.sum(0)
            if step:
                grad_weight.addmm_(change.t(), before)
                torch.addmm(kept, change, weight, out=grad_state)
            else:
                grad_weight += change.sum(0)[:, None] / 2
        return grad_inputs, grad_weight, grad_bias, None, *[None] * n_steps
