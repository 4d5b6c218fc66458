"""The hardest of each pair's candidate negatives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ans_fast.ops._operator import Operator


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
        user_rows: [B, H, D], float32, float64 or bfloat16 (on a GPU float32, bfloat16 or float16): what the pairs'
            items are scored by.
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
    return _OPERATOR(user_rows, item_hops, candidates, item_gate, pos_gate, rest)


def _check(*arguments: Any) -> None:
    _, _, candidates, item_gate, pos_gate, _ = arguments
    if candidates.shape[2] == 0:
        raise ValueError("candidates must have at least one item a negative, got M = 0")
    if (item_gate is None) != (pos_gate is None):
        raise ValueError("item_gate and pos_gate must be given together, got one of them")


def _kernels(*arguments: Any) -> Tensor:
    *tensors, rest = arguments
    if tensors[3] is None:
        rest = None
    elif not isinstance(rest, Tensor):
        rest = torch.tensor(rest, dtype=torch.float64, device="cpu")
    return torch.ops.ans_fast.hardest_negatives(*(None if t is None else t.detach() for t in tensors), rest)


_OPERATOR = Operator(
    "hardest_negatives",
    "user_rows: rows[B, H, D]",
    "item_hops: rows[n_items, H, D]",
    "candidates: int64[B, K, M] < n_items",
    "item_gate: rows[n_items, H, D]?",
    "pos_gate: rows[B, H, D]?",
    "rest: number",
    results=("int64[B, K, H]",),
    check=_check,
    kernels=_kernels,
)
