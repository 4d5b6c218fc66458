"""The denominators of softmaxes over products of rows, whose scores are never stored."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ans_fast.ops._derivatives import differentiable_once, refuse_tangents, wanted
from ans_fast.ops._operator import Operator, register_described_fake


def log_sum_exp(
    queries: Tensor,
    keys: Tensor,
    query_ids: Tensor | None = None,
    key_ids: Tensor | None = None,
    key_bias: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    """log Σ_n exp(scale · queries[b]·keys[n] + key_bias[n]), over the keys n whose id is not that of query b.

    The denominator of a sampled softmax (arXiv 2201.02327): with the items of a batch as keys, `scale` the inverse of
    the temperature and items' ids on both sides, a pair's positive is left out as often as it stands among the keys.
    The [B, N] scores exist a tile at a time, in the forward pass and again in the backward pass (the online softmax of
    arXiv 1805.02867). Sums have one order: the same bits at any number of threads.

    Args:
        queries: [B, D], float32, float64 or bfloat16 (on a GPU float32, bfloat16 or float16).
        keys: [N, D].
        query_ids, key_ids: int64 [B] and [N], any numbers; or None, both: every pair counts.
        key_bias: [N] added to a key's scores, such as minus the logarithm of how often it is drawn; float32, or
            float64 as the queries; None: zeros. It has no gradient. -inf leaves a key out.
        scale: what products are multiplied by.

    Returns:
        [B], in key_bias's dtype. -inf for a query without keys, which gives no gradient.

    Differentiable once, by queries and keys.

    Raises:
        ValueError, TypeError: an argument's shape, dtype or device is wrong.
        RuntimeError: tensors are on a GPU and the CUDA kernels are not built.
    """
    key_bias = key_bias.detach() if isinstance(key_bias, Tensor) else key_bias
    return _OPERATOR(queries, keys, query_ids, key_ids, key_bias, scale)


def _check(*arguments: Any) -> None:
    if (arguments[2] is None) != (arguments[3] is None):
        raise ValueError("query_ids and key_ids must be given together, got one of them")


def _kernels(queries: Tensor, keys: Tensor, *rest: Any) -> Tensor:
    refuse_tangents("log_sum_exp", queries, keys)
    return torch.ops.ans_fast.log_sum_exp(queries, keys, *rest)


_LINES = (
    "queries: rows[B, D]",
    "keys: rows[N, D]",
    "query_ids: int64[B]?",
    "key_ids: int64[N]?",
    "key_bias: sums[N]?",
)
_OPERATOR = Operator("log_sum_exp", *_LINES, results=("sums[B]",), check=_check, kernels=_kernels)
register_described_fake("log_sum_exp_backward", *_LINES, results=("sums[B, D]", "sums[N, D]"))


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    *tensors, ctx.scale = inputs
    ctx.save_for_backward(output, *tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple:
    refuse_tangents("the gradient of log_sum_exp", grad)
    log_sums, *tensors = ctx.saved_tensors
    gradients = torch.ops.ans_fast.log_sum_exp_backward(grad.contiguous(), log_sums, *tensors, ctx.scale)
    return *wanted(gradients, tensors, ctx.needs_input_grad), None, None, None, None


torch.library.register_autograd("ans_fast::log_sum_exp", _backward, setup_context=_save)
differentiable_once("log_sum_exp", "log_sum_exp_backward")
