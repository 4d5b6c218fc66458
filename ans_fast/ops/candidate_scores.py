"""The scores of each pair's own candidates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ans_fast.ops._derivatives import differentiable_once, refuse_tangents, wanted
from ans_fast.ops._operator import Operator, register_described_fake


def candidate_scores(user_rows: Tensor, item_rows: Tensor, candidates: Tensor) -> Tensor:
    """user_rows[b]·item_rows[candidates[b, m]] for every pair b and each of its candidates m.

    Rows are read where they lie: nothing of [B, M, D] is made, forward or backward. On the CPU sums have one order: the
    same bits at any number of threads; on a GPU with torch.use_deterministic_algorithms.

    Args:
        user_rows: [B, D], float32, float64 or bfloat16 (on a GPU float32, bfloat16 or float16, and D at most 1024).
        item_rows: [n_items, D].
        candidates: int64 [B, M] of items, any of them any number of times.

    Returns:
        [B, M], in the rows' dtype, but at least float32. On a GPU, where ids are not checked, NaN for one that is no
        item.

    Differentiable once, by both rows.

    Raises:
        ValueError, TypeError: an argument's shape, dtype, range or device is wrong.
        RuntimeError: tensors are on a GPU and the CUDA kernels are not built.
    """
    return _OPERATOR(user_rows, item_rows, candidates)


def _kernels(*arguments: Tensor) -> Tensor:
    refuse_tangents("candidate_scores", *arguments)
    return torch.ops.ans_fast.candidate_scores(*arguments)


_LINES = ("user_rows: rows[B, D]", "item_rows: rows[n_items, D]", "candidates: int64[B, M] < n_items")
_OPERATOR = Operator("candidate_scores", *_LINES, results=("sums[B, M]",), kernels=_kernels)
register_described_fake("candidate_scores_backward", *_LINES, results=("sums[B, D]", "sums[n_items, D]"))


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple:
    refuse_tangents("the gradient of candidate_scores", grad)
    tensors, deterministic = ctx.saved_tensors, torch.are_deterministic_algorithms_enabled()
    gradients = torch.ops.ans_fast.candidate_scores_backward(grad.contiguous(), *tensors, deterministic)
    return *wanted(gradients, tensors, ctx.needs_input_grad), None


torch.library.register_autograd("ans_fast::candidate_scores", _backward, setup_context=_save)
differentiable_once("candidate_scores", "candidate_scores_backward")
