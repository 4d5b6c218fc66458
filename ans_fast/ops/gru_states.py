"""The last states of a gated recurrent unit over sequences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ans_fast import reference
from ans_fast.ops._derivatives import differentiable_once, refuse_tangents
from ans_fast.ops._library import register_fake
from ans_fast.ops._operator import Operator, register_described_fake


def gru_states(
    table: Tensor,
    ids: Tensor,
    sizes: Tensor,
    n_sequences: int,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
) -> Tensor:
    """The last states of a gated recurrent unit (Cho et al., EMNLP 2014, as torch.nn.GRU has it) over sequences of ids.

    With gates r, z and n, h the state before an id, zeros at first, and i and s the gates' shares of the id's vector
    and of h: r = σ(i_r + s_r), z = σ(i_z + s_z), n = tanh(i_n + r ⊙ s_n), and n + z ⊙ (h − n) is the state after it.

    Args:
        table: [n, D], float32 or float64, one vector an id. Differentiable, as are weights and biases.
        ids: int64 [P], what sequences read: the first id of every sequence, then all second ones, and so on.
        sizes: int64 [n_steps] on the CPU: how many sequences have a first id, a second one, …; P together, and never
            more than before.
        n_sequences: B, long before short; those beyond sizes[0] are empty.
        weight_ih, weight_hh: [3H, D] and [3H, H], that make i and s, r's rows before z's before n's.
        bias_ih, bias_hh: [3H] both.

    Returns:
        [B, H]; zeros for an empty sequence.

    Raises:
        ValueError, TypeError: an argument's shape, dtype, range or device is wrong.
        RuntimeError: tensors are on a GPU, where torch.nn.GRU is the fast way.
    """
    return _OPERATOR(table, ids, sizes, n_sequences, weight_ih, weight_hh, bias_ih, bias_hh)


def _kernels(table: Tensor, ids: Tensor, sizes: Tensor, n_sequences: int, *parameters: Tensor) -> Tensor:
    refuse_tangents("gru_states", table, *parameters)
    save = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (table, *parameters))
    return torch.ops.ans_fast.gru_states(table, ids, sizes, n_sequences, *parameters, save)[0]


def _plain(table: Tensor, ids: Tensor, sizes: Tensor, n_sequences: int, *parameters: Tensor) -> Tensor:
    _check_sizes(sizes.tolist(), len(ids), n_sequences)
    return reference.gru_states(table, ids, sizes.tolist(), n_sequences, *parameters)


def _check_sizes(sizes: list[int], n_ids: int, n_sequences: int) -> None:
    before = n_sequences
    for step, size in enumerate(sizes):
        if not 0 <= size <= before:
            raise ValueError(f"sizes must be in [0, {before}] after {before} sequences, got {size} at position {step}")
        before = size
    if sum(sizes) != n_ids:
        raise ValueError(f"sizes must add up to {n_ids} ids, got {sum(sizes)}")


_LINES = (
    "table: floats[n, D≥1]",
    "weight_hh: floats[3H, H≥1]",
    "weight_ih: floats[3H, D]",
    "bias_ih: floats[3H]",
    "bias_hh: floats[3H]",
    "ids: int64[P] < n",
    "sizes: int64[n_steps] on the CPU",
)
_OPERATOR = Operator("gru_states", *_LINES, kernels=_kernels, plain=_plain, instead_of_cuda="torch.nn.GRU")


@register_fake("gru_states")
def _(table: Tensor, ids: Tensor, sizes: Tensor, n_sequences: int, *parameters: Any) -> tuple[Tensor, ...]:
    size, saved = parameters[1].shape[1], ids.shape[0] if parameters[-1] else 0
    padded = (size + 15) // 16 * 16
    return table.new_empty(n_sequences, size), table.new_empty(saved, 4, padded), table.new_empty(saved, padded)


register_described_fake(
    "gru_states_backward",
    *_LINES[:3],
    results=("floats[n, D]", "floats[3H, D]", "floats[3H, H]", "floats[3H]", "floats[3H]"),
)


def _save(ctx: Any, inputs: tuple, output: tuple) -> None:
    table, ids, sizes, _, weight_ih, weight_hh = inputs[:6]
    saved = output[1:]
    ctx.mark_non_differentiable(*saved)
    ctx.set_materialize_grads(False)  # no zeros as gradients of what is saved
    ctx.save_for_backward(*saved, table, ids, sizes, weight_ih, weight_hh)


def _backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple:
    if grad is None:
        return (None,) * 9
    refuse_tangents("the gradient of gru_states", grad)
    gradients = torch.ops.ans_fast.gru_states_backward(grad.contiguous(), *ctx.saved_tensors)
    wanted = [ctx.needs_input_grad[at] for at in (0, 4, 5, 6, 7)]
    of_table, *of_parameters = (g if needed else None for g, needed in zip(gradients, wanted, strict=True))
    return of_table, None, None, None, *of_parameters, None


torch.library.register_autograd("ans_fast::gru_states", _backward, setup_context=_save)
differentiable_once("gru_states", "gru_states_backward")
