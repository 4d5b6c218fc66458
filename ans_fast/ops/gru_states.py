"""What a gated recurrent unit remembers of sequences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ans_fast import reference
from ans_fast.ops._backend import use_reference
from ans_fast.ops._check import check_device, check_dtype, check_ids, check_shape


def gru_states(inputs: Tensor, rows: Tensor, sizes: Tensor, weight: Tensor, bias: Tensor, n_sequences: int) -> Tensor:
    """The last states of a gated recurrent unit (Cho et al., EMNLP 2014, as torch.nn.GRU has it) over sequences.

    With gates r, z and n, h the state before a row, zeros at first, and i and s the gates' shares of the row's input
    and of h: r = σ(i_r + s_r), z = σ(i_z + s_z), n = tanh(i_n + r ⊙ s_n), and n + z ⊙ (h − n) is the state after it.
    Inputs come multiplied with their weight, each once however often it occurs.

    Args:
        inputs: [U, 3H], float32 or float64: i_r, i_z and i_n of U different inputs, with their biases and those of s_r
            and s_z. Differentiable, as are weight and bias.
        rows: int64 [P], which of the inputs it is that sequences read: the first of every sequence, then all second
            ones, and so on.
        sizes: int64 [n_steps] on the CPU: how many sequences have a first one, a second one, …; P together, and never
            more than before.
        weight: [3H, H], that makes s_r, s_z and s_n of h.
        bias: [H], that of s_n.
        n_sequences: B, long before short; those beyond sizes[0] are empty.

    Returns:
        [B, H]; zeros for an empty sequence.

    Raises:
        ValueError, TypeError: an argument's shape, dtype, range or device is wrong.
        RuntimeError: tensors are on a GPU, where torch.nn.GRU is the fast way.
    """
    _check(inputs, rows, sizes, weight, bias, n_sequences)
    if use_reference():
        check_ids("rows", rows, inputs.shape[0])
        _check_sizes(sizes.tolist(), len(rows), n_sequences)
        return reference.gru_states(inputs, rows, sizes.tolist(), weight, bias, n_sequences)
    if inputs.device.type != "cpu":
        raise RuntimeError(
            f"gru_states has kernels for cpu, got {inputs.device}: use torch.nn.GRU or ans_fast.backend('reference')"
        )
    tensors = [tensor.contiguous() for tensor in (inputs, rows, sizes, weight, bias)]
    save = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (inputs, weight, bias))
    return torch.ops.ans_fast.gru_states(*tensors, n_sequences, save)[0]


def _check(inputs: Tensor, rows: Tensor, sizes: Tensor, weight: Tensor, bias: Tensor, n_sequences: int) -> None:
    check_shape("weight", weight, "[3H, H]", (None, None))
    size = weight.shape[1]
    if size == 0:
        raise ValueError(f"weight must have H of at least 1, got {list(weight.shape)}")
    check_shape("weight", weight, f"[3H = {3 * size}, H = {size}]", (3 * size, size))
    check_shape("inputs", inputs, f"[U, 3H = {3 * size}]", (None, 3 * size))
    check_shape("bias", bias, f"[H = {size}]", (size,))
    check_shape("rows", rows, "[P]", (None,))
    check_shape("sizes", sizes, "[n_steps]", (None,))
    check_dtype("inputs", inputs, torch.float32, torch.float64)
    for name, tensor in dict(weight=weight, bias=bias).items():
        check_dtype(name, tensor, inputs.dtype)
    for name, tensor in dict(rows=rows, sizes=sizes).items():
        check_dtype(name, tensor, torch.int64)
    check_device(inputs.device, rows=rows, weight=weight, bias=bias)
    check_device(torch.device("cpu"), sizes=sizes)


def _check_sizes(sizes: list[int], n_rows: int, n_sequences: int) -> None:
    before = n_sequences
    for step, size in enumerate(sizes):
        if not 0 <= size <= before:
            raise ValueError(f"sizes must be in [0, {before}] after {before} sequences, got {size} at position {step}")
        before = size
    if sum(sizes) != n_rows:
        raise ValueError(f"sizes must add up to {n_rows} rows, got {sum(sizes)}")


@torch.library.register_fake("ans_fast::gru_states")
def _(inputs: Tensor, rows: Tensor, sizes: Tensor, weight: Tensor, bias: Tensor, n_sequences: int, save: bool) -> Any:
    size, saved = weight.shape[1], rows.shape[0] if save else 0
    padded = (size + 15) // 16 * 16
    states, gates = inputs.new_empty(n_sequences, size), inputs.new_empty(saved, 4, padded)
    return states, gates, inputs.new_empty(saved, padded)


@torch.library.register_fake("ans_fast::gru_states_backward")
def _(grad: Tensor, gates: Tensor, after: Tensor, inputs: Tensor, *shape: Tensor) -> Any:
    weight = shape[-1]
    return torch.empty_like(inputs), torch.empty_like(weight), inputs.new_empty(weight.shape[1])


def _save(ctx: Any, inputs: tuple, output: tuple) -> None:
    saved = output[1:]
    ctx.mark_non_differentiable(*saved)
    ctx.set_materialize_grads(False)  # no zeros as gradients of what is saved
    ctx.save_for_backward(*saved, *inputs[:4])


def _backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple:
    if grad is None:
        return (None,) * 7
    gradients = torch.ops.ans_fast.gru_states_backward(grad.contiguous(), *ctx.saved_tensors)
    of_inputs, of_weight, of_bias = (
        gradient if wanted else None
        for gradient, wanted in zip(gradients, (ctx.needs_input_grad[i] for i in (0, 3, 4)), strict=True)
    )
    return of_inputs, None, None, of_weight, of_bias, None, None


torch.library.register_autograd("ans_fast::gru_states", _backward, setup_context=_save)
