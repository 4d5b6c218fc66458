"""The BPR loss of scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ans_fast.ops._derivatives import differentiable_once, refuse_tangents
from ans_fast.ops._library import register_fake
from ans_fast.ops._operator import Operator, register_described_fake


def top_k_bpr(scores: Tensor) -> Tensor:
    """The mean of −log of the softmax-weighted mean of sigmoid(clicked − negative): harder negatives weigh more
    ("Recurrent Neural Networks with Top-k Gains", Hidasi and Karatzoglou, CIKM 2018). Of one negative it is BPR's
    −log sigmoid. No pair costs more than −log 1e-8.

    Args:
        scores: [B, W] of B pairs, the clicked item's first, then those of its W − 1 ≥ 1 negatives; float32 or, on the
            CPU, float64.

    Returns:
        A scalar, NaN of no pairs. Differentiable once.

    Raises:
        ValueError, TypeError: shape or dtype is wrong.
        RuntimeError: scores are on a GPU and the CUDA kernels are not built.
    """
    return _OPERATOR(scores)


def _kernels(scores: Tensor) -> Tensor:
    refuse_tangents("top_k_bpr", scores)
    return torch.ops.ans_fast.top_k_bpr(scores)


_LINES = ("scores: floats[B, W≥2]",)
_OPERATOR = Operator("top_k_bpr", *_LINES, kernels=_kernels)
register_described_fake("top_k_bpr_backward", *_LINES, results=("floats[B, W]",))


@register_fake("top_k_bpr")
def _(scores: Tensor) -> Tensor:
    return scores.new_empty(())


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> Tensor:
    refuse_tangents("the gradient of top_k_bpr", grad)
    return torch.ops.ans_fast.top_k_bpr_backward(grad, *ctx.saved_tensors)


torch.library.register_autograd("ans_fast::top_k_bpr", _backward, setup_context=_save)
differentiable_once("top_k_bpr", "top_k_bpr_backward")
