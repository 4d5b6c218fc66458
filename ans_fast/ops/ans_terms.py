"""The fused terms of the augmented negative sampling loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ans_fast import reference
from ans_fast.ops._backend import use_reference
from ans_fast.ops._check import check_device, check_dtype, check_ids, check_kernels, check_row_dtype, check_shape
from ans_fast.ops._derivatives import differentiable_once, refuse_tangents
from ans_fast.ops._library import register_fake
from ans_fast.ops._seed import seed_tensor
from ans_fast.reference import AnsTerms


def ans_terms(
    user_hops: Tensor,
    item_hops: Tensor,
    user_gate: Tensor,
    item_gate: Tensor,
    margin_weight: Tensor,
    margin_bias: Tensor,
    users: Tensor,
    pos_items: Tensor,
    neg_items: Tensor,
    neg_count: Tensor | None = None,
    eps: float = 0.1,
    noise_scale: float = 0.1,
    seed: int | Tensor | None = None,
    first_pair: int = 0,
) -> AnsTerms:
    """Augmented negative sampling (Zhao et al., RecSys 2023, arXiv 2308.05972, section 4) over a batch of pairs.

    Each negative is split by a gate into hard and easy factors, its easy factors are augmented with noise within a
    learned margin, and per pair and hop the augmented negative with the largest score is selected.

    Args:
        user_hops, item_hops: [n_users, H, D] and [n_items, H, D], float32 or float64. Differentiable, as are the gates
            and the margin.
        user_gate: [B, H, D], the gate logits (before the sigmoid) of the batch's users.
        item_gate: [n_items, H, D], those of all items.
        margin_weight, margin_bias: [D] and [1], the margin's linear layer.
        users, pos_items: int64 [B], the pairs.
        neg_items: int64 [B, M], candidates of each pair.
        neg_count: int64 [B] in 1 … M, how many of a pair's candidates count; the rest are not read. None: all.
        eps: weight of the gain in score that the noise brings, in the selection.
        noise_scale: length of the noise at a margin of 1.
        seed: of the noise: an int, an int64 tensor of one element, or None: drawn from torch's CPU generator.
        first_pair: how many pairs come before these in a larger batch, of which these then have the noise.

    Returns:
        AnsTerms(bpr, sns, distance, orthogonality, selected): four scalars, means over pairs (0 for an empty batch),
        and int64 [B, H], the negative that won.

    Raises:
        ValueError, TypeError: an argument's shape, dtype, range or device is wrong.
        RuntimeError: tensors are on a GPU and the CUDA kernels are not built.
    """
    tensors = (user_hops, item_hops, user_gate, item_gate, margin_weight, margin_bias, users, pos_items, neg_items)
    _check(*tensors, neg_count)
    seed = seed_tensor(seed, user_hops.device)
    if use_reference():
        _check_ranges(user_hops, item_hops, users, pos_items, neg_items, neg_count)
        return reference.ans_terms(*tensors, neg_count, eps, noise_scale, seed.to(users.device), first_pair)
    check_kernels(user_hops.device)
    refuse_tangents("ans_terms", *tensors[:6])
    contiguous = [tensor.contiguous() for tensor in tensors]
    neg_count = None if neg_count is None else neg_count.contiguous()
    terms, selected, _ = torch.ops.ans_fast.ans_terms_forward(
        *contiguous, neg_count, eps, noise_scale, seed, first_pair
    )
    return AnsTerms(*terms.unbind(), selected)


def _check(
    user_hops: Tensor,
    item_hops: Tensor,
    user_gate: Tensor,
    item_gate: Tensor,
    margin_weight: Tensor,
    margin_bias: Tensor,
    users: Tensor,
    pos_items: Tensor,
    neg_items: Tensor,
    neg_count: Tensor | None,
) -> None:
    check_shape("user_hops", user_hops, "[n_users, H, D]", (None, None, None))
    hops, dim = user_hops.shape[1:]
    if hops == 0 or dim == 0:
        raise ValueError(f"user_hops must have H and D of at least 1, got {list(user_hops.shape)}")
    check_shape("item_hops", item_hops, f"[n_items, H = {hops}, D = {dim}]", (None, hops, dim))
    check_shape("users", users, "[B]", (None,))
    pairs, items = users.shape[0], item_hops.shape[0]
    check_shape("pos_items", pos_items, f"[B = {pairs}]", (pairs,))
    check_shape("neg_items", neg_items, "[B, M]", (pairs, None))
    if neg_items.shape[1] == 0:
        raise ValueError("neg_items must have at least one negative a pair, got M = 0")
    check_shape("user_gate", user_gate, f"[B = {pairs}, H = {hops}, D = {dim}]", (pairs, hops, dim))
    check_shape("item_gate", item_gate, f"[n_items = {items}, H = {hops}, D = {dim}]", (items, hops, dim))
    check_shape("margin_weight", margin_weight, f"[D = {dim}]", (dim,))
    check_shape("margin_bias", margin_bias, "[1]", (1,))
    floats = dict(item_hops=item_hops, user_gate=user_gate, item_gate=item_gate)
    floats |= dict(margin_weight=margin_weight, margin_bias=margin_bias)
    ids = dict(users=users, pos_items=pos_items, neg_items=neg_items)
    if neg_count is not None:
        check_shape("neg_count", neg_count, f"[B = {pairs}]", (pairs,))
        ids["neg_count"] = neg_count
    check_row_dtype("user_hops", user_hops)
    for name, tensor in floats.items():
        check_dtype(name, tensor, user_hops.dtype)
    for name, tensor in ids.items():
        check_dtype(name, tensor, torch.int64)
    check_device(user_hops.device, **floats, **ids)


def _check_ranges(
    user_hops: Tensor, item_hops: Tensor, users: Tensor, pos_items: Tensor, neg_items: Tensor, neg_count: Tensor | None
) -> None:
    check_ids("users", users, user_hops.shape[0])
    check_ids("pos_items", pos_items, item_hops.shape[0])
    n_negatives = neg_items.shape[1]
    if neg_count is not None:
        if ((neg_count < 1) | (neg_count > n_negatives)).any():
            raise ValueError(f"neg_count must be in [1, {n_negatives}], got {neg_count.tolist()}")
        present = torch.arange(n_negatives, device=neg_items.device) < neg_count[:, None]
        neg_items = neg_items.masked_fill(~present, 0)
    check_ids("neg_items", neg_items, item_hops.shape[0])


def _dtype_of_sums(rows: Tensor) -> torch.dtype:
    """float32 of 16-bit rows, else the rows' own."""
    return torch.promote_types(rows.dtype, torch.float32)


@register_fake("ans_terms_forward")
def _(user_hops: Tensor, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    users, neg_items = inputs[5], inputs[7]
    pairs, hops, negatives = users.shape[0], user_hops.shape[1], neg_items.shape[1]
    sums = user_hops.new_empty(0, dtype=_dtype_of_sums(user_hops))
    return sums.new_empty(4), users.new_empty(pairs, hops), sums.new_empty(pairs, hops, 3, negatives)


@register_fake("ans_terms_backward")
def _(*inputs: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(tensor, dtype=_dtype_of_sums(tensor)) for tensor in inputs[:6])


def _save(ctx: Any, inputs: tuple, output: tuple) -> None:
    *tensors, neg_count, eps, noise_scale, seed, first_pair = inputs
    _, selected, saved = output
    ctx.mark_non_differentiable(selected, saved)
    ctx.set_materialize_grads(False)  # no zeros as gradients of what is saved
    ctx.save_for_backward(*tensors, neg_count, seed, selected, saved)
    ctx.eps, ctx.noise_scale, ctx.first_pair = eps, noise_scale, first_pair


def _backward(ctx: Any, grad_terms: Tensor | None, *_: Any) -> tuple:
    if grad_terms is None:
        return (None,) * 14
    refuse_tangents("the gradient of ans_terms", grad_terms)
    *tensors, neg_count, seed, selected, saved = ctx.saved_tensors
    gradients = torch.ops.ans_fast.ans_terms_backward(
        *tensors,
        neg_count,
        ctx.eps,
        ctx.noise_scale,
        seed,
        ctx.first_pair,
        grad_terms.contiguous(),
        selected,
        saved,
        torch.are_deterministic_algorithms_enabled(),
    )
    wanted = [g if needed else None for g, needed in zip(gradients, ctx.needs_input_grad, strict=False)]
    return *wanted, *[None] * 8


torch.library.register_autograd("ans_fast::ans_terms_forward", _backward, setup_context=_save)
differentiable_once("ans_terms", "ans_terms_backward")
