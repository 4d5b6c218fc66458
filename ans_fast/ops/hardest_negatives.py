"""The hardest of each pair's candidate negatives."""

from __future__ import annotations

import torch
from torch import Tensor

from ans_fast import reference
from ans_fast.ops._backend import use_reference
from ans_fast.ops._check import (
    check_device,
    check_dtype,
    check_ids,
    check_kernels,
    check_number,
    check_row_dtype,
    check_shape,
)
from ans_fast.ops._library import register_fake


def hardest_negatives(
    user_rows: Tensor,
    item_hops: Tensor,
    candidates: Tensor,
    item_gate: Tensor | None = None,
    pos_gate: Tensor | None = None,
    rest: float | Tensor = 1.0,
) -> Tensor:
    """Of each pair's candidates, hop by hop, the hardest: the highest score, the first of equal ones, NaN never.

    The score of an item's row n for a pair's row u is u·n, as DNS (SIGIR 2013) and MixGCF (KDD 2021) have it. With
    gates it is u·(rest n − n ⊙ σ(item_gate + pos_gate)), that of DENS (WSDM 2023): high for items whose factors that
    matter to the pair score low.

    Args:
        user_rows: [B, H, D], float32 or float64 (on a GPU float32, bfloat16 or float16): what the pairs' items are
            scored by.
        item_hops: [n_items, H, D].
        candidates: int64 [B, K, M]: M items to look at for each of K negatives.
        item_gate: [n_items, H, D], the gate logits (before the sigmoid) of all items; or None: no gate.
        pos_gate: [B, H, D], those of the pairs; given if item_gate is.
        rest: what whole items count for beside their gated factors; without gates it has no meaning. A tensor (float64,
            one element, on the CPU or where the others are) lets a captured CUDA graph be replayed with another.

    Returns:
        int64 [B, K, H] of items. They have no gradient. On a GPU, where ids are not checked, among candidates one
        of which is no item it is 2^63 − 1, which no table has.

    Raises:
        ValueError, TypeError: an argument's shape, dtype, range or device is wrong.
        RuntimeError: tensors are on a GPU and the CUDA kernels are not built.
    """
    _check(user_rows, item_hops, candidates, item_gate, pos_gate)
    rows = [None if t is None else t.detach() for t in (user_rows, item_hops, candidates, item_gate, pos_gate)]
    if isinstance(rest, Tensor):
        check_number("rest", rest, torch.float64, user_rows.device)
        rest = rest.reshape(())  # which leaves the rows' dtype theirs
    if use_reference():
        check_ids("candidates", candidates, item_hops.shape[0])
        return reference.hardest_negatives(*rows, rest)
    check_kernels(user_rows.device)
    if item_gate is None:
        rest = None
    elif not isinstance(rest, Tensor):
        rest = torch.tensor(rest, dtype=torch.float64, device="cpu")
    return torch.ops.ans_fast.hardest_negatives(*(None if t is None else t.contiguous() for t in rows), rest)


def _check(
    user_rows: Tensor, item_hops: Tensor, candidates: Tensor, item_gate: Tensor | None, pos_gate: Tensor | None
) -> None:
    check_shape("user_rows", user_rows, "[B, H, D]", (None, None, None))
    pairs, hops, dim = user_rows.shape
    check_shape("item_hops", item_hops, f"[n_items, H = {hops}, D = {dim}]", (None, hops, dim))
    check_shape("candidates", candidates, f"[B = {pairs}, K, M]", (pairs, None, None))
    if candidates.shape[2] == 0:
        raise ValueError("candidates must have at least one item a negative, got M = 0")
    if (item_gate is None) != (pos_gate is None):
        raise ValueError("item_gate and pos_gate must be given together, got one of them")
    floats = dict(item_hops=item_hops)
    if item_gate is not None:
        items = item_hops.shape[0]
        check_shape("item_gate", item_gate, f"[n_items = {items}, H = {hops}, D = {dim}]", (items, hops, dim))
        check_shape("pos_gate", pos_gate, f"[B = {pairs}, H = {hops}, D = {dim}]", (pairs, hops, dim))
        floats |= dict(item_gate=item_gate, pos_gate=pos_gate)
    check_row_dtype("user_rows", user_rows)
    for name, tensor in floats.items():
        check_dtype(name, tensor, user_rows.dtype)
    check_dtype("candidates", candidates, torch.int64)
    check_device(user_rows.device, **floats, candidates=candidates)


@register_fake("hardest_negatives")
def _(
    user_rows: Tensor,
    item_hops: Tensor,
    candidates: Tensor,
    item_gate: Tensor | None,
    pos_gate: Tensor | None,
    rest: Tensor | None,
) -> Tensor:
    return candidates.new_empty(candidates.shape[0], candidates.shape[1], user_rows.shape[1])
