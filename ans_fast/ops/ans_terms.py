"""The fused terms of the augmented negative sampling loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ans_fast import reference
from ans_fast.ops._derivatives import differentiable_once, refuse_tangents, wanted
from ans_fast.ops._operator import Operator, check_ids, register_described_fake
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
        user_hops, item_hops: [n_users, H, D] and [n_items, H, D], of float32, float64 or bfloat16 (on a GPU float32,
            bfloat16 or float16; of 16 bits, arithmetic and terms are float32). Differentiable, as are the gates and the
            margin, which are of the same dtype.
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
        AnsTerms(bpr, sns, distance, orthogonality, selected, differences): four scalars, means over pairs (0 for an
        empty batch); int64 [B, H], the negative that won; and [B], by how much a pair's score is above that of the
        negatives that won, of which bpr is the mean of −log sigmoid: for other losses over it.

    Raises:
        ValueError, TypeError: an argument's shape, dtype, range or device is wrong.
        RuntimeError: tensors are on a GPU and the CUDA kernels are not built.
    """
    floats = (user_hops, item_hops, user_gate, item_gate, margin_weight, margin_bias)
    return _OPERATOR(*floats, users, pos_items, neg_items, neg_count, eps, noise_scale, seed, first_pair)


def _check(*inputs: Any) -> None:
    user_hops, neg_items = inputs[0], inputs[8]
    if 0 in user_hops.shape[1:]:
        raise ValueError(f"user_hops must have H and D of at least 1, got {list(user_hops.shape)}")
    if neg_items.shape[1] == 0:
        raise ValueError("neg_items must have at least one negative a pair, got M = 0")


def _kernels(*inputs: Any) -> AnsTerms:
    refuse_tangents("ans_terms", *inputs[:6])
    terms, selected, _, differences = torch.ops.ans_fast.ans_terms_forward(*inputs)
    return AnsTerms(*terms.unbind(), selected, differences)


def _plain(*inputs: Any) -> AnsTerms:
    item_hops, neg_items, neg_count = inputs[1], inputs[8], inputs[9]
    n_negatives = neg_items.shape[1]
    if neg_count is not None:
        if ((neg_count < 1) | (neg_count > n_negatives)).any():
            raise ValueError(f"neg_count must be in [1, {n_negatives}], got {neg_count.tolist()}")
        present = torch.arange(n_negatives, device=neg_items.device) < neg_count[:, None]
        neg_items = neg_items.masked_fill(~present, 0)  # padding is not read
    check_ids("neg_items", neg_items, item_hops.shape[0])
    return reference.ans_terms(*inputs)


_LINES = (
    "user_hops: rows[n_users, H, D]",
    "item_hops: rows[n_items, H, D]",
    "neg_items: int64[B, M]",
    "users: int64[B] < n_users",
    "pos_items: int64[B] < n_items",
    "user_gate: rows[B, H, D]",
    "item_gate: rows[n_items, H, D]",
    "margin_weight: rows[D]",
    "margin_bias: rows[1]",
    "neg_count: int64[B]?",
    "seed: seed",
)
_OPERATOR = Operator(
    "ans_terms",
    *_LINES,
    schema="ans_terms_forward",
    results=("sums[4]", "int64[B, H]", "sums[B, H, 3, M]", "sums[B]"),
    check=_check,
    kernels=_kernels,
    plain=_plain,
)
register_described_fake(
    "ans_terms_backward",
    *_LINES,
    results=(
        "rows[n_users, H, D]",
        "rows[n_items, H, D]",
        "rows[B, H, D]",
        "rows[n_items, H, D]",
        "rows[D]",
        "rows[1]",
    ),
)


def _save(ctx: Any, inputs: tuple, output: tuple) -> None:
    *tensors, neg_count, eps, noise_scale, seed, first_pair = inputs
    _, selected, saved, _ = output
    ctx.mark_non_differentiable(selected, saved)
    ctx.set_materialize_grads(False)  # no zeros as gradients of what is saved
    ctx.save_for_backward(*tensors, neg_count, seed, selected, saved)
    ctx.eps, ctx.noise_scale, ctx.first_pair = eps, noise_scale, first_pair


def _backward(ctx: Any, grad_terms: Tensor | None, *rest: Tensor | None) -> tuple:
    grad_differences = rest[-1]
    given = [grad for grad in (grad_terms, grad_differences) if grad is not None]
    if not given:
        return (None,) * 14
    refuse_tangents("the gradient of ans_terms", *given)
    grad_terms = given[0].new_zeros(4) if grad_terms is None else grad_terms
    *tensors, neg_count, seed, selected, saved = ctx.saved_tensors
    gradients = torch.ops.ans_fast.ans_terms_backward(
        *tensors,
        neg_count,
        ctx.eps,
        ctx.noise_scale,
        seed,
        ctx.first_pair,
        grad_terms.contiguous(),
        None if grad_differences is None else grad_differences.contiguous(),
        selected,
        saved,
        torch.are_deterministic_algorithms_enabled(),
    )
    return *wanted(gradients, tensors, ctx.needs_input_grad), *[None] * 8


torch.library.register_autograd("ans_fast::ans_terms_forward", _backward, setup_context=_save)
differentiable_once("ans_terms", "ans_terms_backward")
