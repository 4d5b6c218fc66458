"""The denominators of softmaxes over products of rows, whose scores are never stored."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ans_fast import reference
from ans_fast.ops._backend import use_reference
from ans_fast.ops._check import check_device, check_dtype, check_kernels, check_row_dtype, check_shape
from ans_fast.ops._derivatives import differentiable_once, refuse_tangents
from ans_fast.ops._library import register_fake


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
        queries: [B, D], float32 or float64 (on a GPU float32, bfloat16 or float16).
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
    _check(queries, keys, query_ids, key_ids, key_bias)
    refuse_tangents("log_sum_exp", queries, keys)
    key_bias = None if key_bias is None else key_bias.detach()
    if use_reference():
        return reference.log_sum_exp(queries, keys, query_ids, key_ids, key_bias, scale)
    check_kernels(queries.device)
    tensors = (None if t is None else t.contiguous() for t in (queries, keys, query_ids, key_ids, key_bias))
    return torch.ops.ans_fast.log_sum_exp(*tensors, scale)


def _check(
    queries: Tensor, keys: Tensor, query_ids: Tensor | None, key_ids: Tensor | None, key_bias: Tensor | None
) -> None:
    check_shape("queries", queries, "[B, D]", (None, None))
    n_queries, dim = queries.shape
    check_shape("keys", keys, f"[N, D = {dim}]", (None, dim))
    n_keys = len(keys)
    if (query_ids is None) != (key_ids is None):
        raise ValueError("query_ids and key_ids must be given together, got one of them")
    check_row_dtype("queries", queries)
    check_dtype("keys", keys, queries.dtype)
    check_device(queries.device, keys=keys)
    if query_ids is not None:
        check_shape("query_ids", query_ids, f"[B = {n_queries}]", (n_queries,))
        check_shape("key_ids", key_ids, f"[N = {n_keys}]", (n_keys,))
        check_dtype("query_ids", query_ids, torch.int64)
        check_dtype("key_ids", key_ids, torch.int64)
        check_device(queries.device, query_ids=query_ids, key_ids=key_ids)
    if key_bias is not None:
        check_shape("key_bias", key_bias, f"[N = {n_keys}]", (n_keys,))
        check_dtype("key_bias", key_bias, _sum_dtype(queries))
        check_device(queries.device, key_bias=key_bias)


def _sum_dtype(rows: Tensor) -> torch.dtype:
    """The dtype of sums over rows: float32 for rows of 16 bits."""
    return torch.promote_types(rows.dtype, torch.float32)


@register_fake("log_sum_exp")
def _(queries: Tensor, *inputs: Any) -> Tensor:
    return queries.new_empty(len(queries), dtype=_sum_dtype(queries))


@register_fake("log_sum_exp_backward")
def _(grad: Tensor, log_sums: Tensor, queries: Tensor, keys: Tensor, *inputs: Any) -> tuple[Tensor, Tensor]:
    return queries.new_empty(queries.shape, dtype=grad.dtype), keys.new_empty(keys.shape, dtype=grad.dtype)


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    *tensors, ctx.scale = inputs
    ctx.save_for_backward(output, *tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple:
    refuse_tangents("the gradient of log_sum_exp", grad)
    log_sums, *tensors = ctx.saved_tensors
    gradients = torch.ops.ans_fast.log_sum_exp_backward(grad.contiguous(), log_sums, *tensors, ctx.scale)
    rows = zip(gradients, tensors, ctx.needs_input_grad, strict=False)
    return *[gradient.to(of.dtype) if wanted else None for gradient, of, wanted in rows], None, None, None, None


torch.library.register_autograd("ans_fast::log_sum_exp", _backward, setup_context=_save)
differentiable_once("log_sum_exp", "log_sum_exp_backward")
