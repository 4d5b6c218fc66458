"""Losses over scores, by ReChorus's formulas."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_BPR = [f"BPR{hard}{where}" for hard in ("", "hard") for where in ("", "between", "after", "before", "simple")]
LIST_LOSSES = (*_BPR, "listnet", "softmaxCE", "attention_rank")
CLICK_LOSSES = ("BCE", "MSE")
LOSSES = {"TopK": ("BPR",), "Impression": LIST_LOSSES, "CTR": CLICK_LOSSES}


def top_k_bpr(scores: Tensor) -> Tensor:
    """scores [B, 1 + M], the clicked item's first: -log of the softmax-weighted mean of sigmoid(pos - neg).

    "Recurrent Neural Networks with Top-k Gains" (Hidasi and Karatzoglou, CIKM 2018). Harder negatives weigh more.
    """
    pos, neg = scores[:, :1], scores[:, 1:]
    chance = (pos - neg).sigmoid()
    if neg.shape[1] > 1:
        chance = chance * neg.softmax(1)
    return -chance.sum(1).clamp(1e-8, 1 - 1e-8).log().mean()


def click_loss(name: str, logits: Tensor, labels: Tensor) -> Tensor:
    """logits [B], labels float32 [B] -> the mean "BCE" or "MSE" of sigmoid(logits)."""
    if name == "BCE":
        return F.binary_cross_entropy_with_logits(logits, labels)
    return (logits.sigmoid() - labels).square().mean()


def list_loss(name: str, scores: Tensor, n_pos: Tensor, n_neg: Tensor) -> Tensor:
    """The mean loss of lists whose clicked items come first.

    Args:
        name: one of LIST_LOSSES. BPR weighs the negatives of a list by their softmax and its positives by theirs
            (BPRhard: low-scored positives weigh more) between sigmoid and log; …before weighs before the log-sigmoid,
            …after after it, …simple not at all. listnet and softmaxCE are cross-entropies of the list's softmax with
            the softmax of the labels and with equal shares for the positives; attention_rank adds to listnet the
            same for "not clicked".
        scores: [L, W]; n_pos, n_neg: int64 [L], at least 1 each. Columns from n_pos + n_neg on are padding, which
            has no part in any loss.
    """
    column = torch.arange(scores.shape[1], device=scores.device)
    positive = column < n_pos[:, None]
    negative = ~positive & (column < (n_pos + n_neg)[:, None])
    if name.startswith("BPR"):
        return _list_bpr(name.removeprefix("BPR"), scores, positive, negative)
    log_share = _masked_log_softmax(scores, positive | negative)
    if name == "softmaxCE":
        return -((log_share * positive).sum(1) / n_pos).mean()
    target = positive.to(scores.dtype).masked_fill(~(positive | negative), -torch.inf).softmax(1)
    loss = -(target * log_share).sum(1)
    if name == "attention_rank":
        rest = (1 - log_share.exp()).clamp(min=torch.finfo(scores.dtype).tiny).log()
        loss = loss - ((1 - target) * rest * (positive | negative)).sum(1)
    return loss.mean()


def _masked_log_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """log-softmax over the columns in `mask`; 0 elsewhere."""
    return scores.masked_fill(~mask, -torch.inf).log_softmax(1).masked_fill(~mask, 0.0)


def _list_bpr(variant: str, scores: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    weight_neg = scores.masked_fill(~negative, -torch.inf).softmax(1)[:, None, :]  # [L, 1, W]
    ranked = -scores if "hard" in variant else scores
    weight_pos = ranked.masked_fill(~positive, -torch.inf).softmax(1)  # [L, W]
    difference = scores[:, :, None] - scores[:, None, :]  # [L, W, W]: row a positive, column a negative
    pair = positive[:, :, None] & negative[:, None, :]
    if variant.endswith("after"):
        return ((F.softplus(-difference) * weight_neg).sum(2) * weight_pos).sum(1).mean()
    if variant.endswith("before"):
        return (F.softplus(-(difference * weight_neg).sum(2) * weight_pos) * positive).sum(1).mean()
    if variant.endswith("simple"):
        return (F.softplus(-difference) * pair).sum((1, 2)).mean()
    chance = ((difference.sigmoid() * weight_neg).sum(2) * weight_pos).sum(1)
    return -chance.clamp(min=torch.finfo(scores.dtype).tiny).log().mean()
