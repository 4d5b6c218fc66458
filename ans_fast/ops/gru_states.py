"""The last states of a gated recurrent unit over sequences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ans_fast import reference
from ans_fast.ops._backend import use_reference
from ans_fast.ops._check import check_device, check_dtype, check_ids, check_shape
from ans_fast.ops._derivatives import differentiable_once, refuse_tangents
from ans_fast.ops._library import register_fake


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
    parameters = (weight_ih, weight_hh, bias_ih, bias_hh)
    _check(table, ids, sizes, *parameters)
    if use_reference():
        check_ids("ids", ids, table.shape[0])
        _check_sizes(sizes.tolist(), len(ids), n_sequences)
        return reference.gru_states(table, ids, sizes.tolist(), n_sequences, *parameters)
    if table.device.type != "cpu":
        raise RuntimeError(
            f"gru_states has kernels for cpu, got {table.device}: use torch.nn.GRU or ans_fast.backend('reference')"
        )
    refuse_tangents("gru_states", table, *parameters)
    table, ids, sizes, *parameters = (tensor.contiguous() for tensor in (table, ids, sizes, *parameters))
    save = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (table, *parameters))
    return torch.ops.ans_fast.gru_states(table, ids, sizes, n_sequences, *parameters, save)[0]


def _check(
    table: Tensor,
    ids: Tensor,
    sizes: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
) -> None:
    check_shape("table", table, "[n, D]", (None, None))
    check_shape("weight_hh", weight_hh, "[3H, H]", (None, None))
    dim, size = table.shape[1], weight_hh.shape[1]
    for name, what, least in (("table", "D", dim), ("weight_hh", "H", size)):
        if least == 0:
            raise ValueError(f"{name} must have {what} of at least 1, got 0")
    check_shape("weight_hh", weight_hh, f"[3H = {3 * size}, H = {size}]", (3 * size, size))
    check_shape("weight_ih", weight_ih, f"[3H = {3 * size}, D = {dim}]", (3 * size, dim))
    check_shape("bias_ih", bias_ih, f"[3H = {3 * size}]", (3 * size,))
    check_shape("bias_hh", bias_hh, f"[3H = {3 * size}]", (3 * size,))
    check_shape("ids", ids, "[P]", (None,))
    check_shape("sizes", sizes, "[n_steps]", (None,))
    check_dtype("table", table, torch.float32, torch.float64)
    floats = dict(weight_ih=weight_ih, weight_hh=weight_hh, bias_ih=bias_ih, bias_hh=bias_hh)
    for name, tensor in floats.items():
        check_dtype(name, tensor, table.dtype)
    for name, tensor in dict(ids=ids, sizes=sizes).items():
        check_dtype(name, tensor, torch.int64)
    check_device(table.device, ids=ids, **floats)
    check_device(torch.device("cpu"), sizes=sizes)


def _check_sizes(sizes: list[int], n_ids: int, n_sequences: int) -> None:
    before = n_sequences
    for step, size in enumerate(sizes):
        if not 0 <= size <= before:
            raise ValueError(f"sizes must be in [0, {before}] after {before} sequences, got {size} at position {step}")
        before = size
    if sum(sizes) != n_ids:
        raise ValueError(f"sizes must add up to {n_ids} ids, got {sum(sizes)}")


@register_fake("gru_states")
def _(table: Tensor, ids: Tensor, sizes: Tensor, n_sequences: int, *parameters: Any) -> tuple[Tensor, ...]:
    size, saved = parameters[1].shape[1], ids.shape[0] if parameters[-1] else 0
    padded = (size + 15) // 16 * 16
    return table.new_empty(n_sequences, size), table.new_empty(saved, 4, padded), table.new_empty(saved, padded)


@register_fake("gru_states_backward")
def _(
    grad: Tensor,
    gates: Tensor,
    after: Tensor,
    table: Tensor,
    ids: Tensor,
    sizes: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
) -> tuple[Tensor, ...]:
    biases = (table.new_empty(weight_hh.shape[0]) for _ in range(2))
    return torch.empty_like(table), torch.empty_like(weight_ih), torch.empty_like(weight_hh), *biases


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
