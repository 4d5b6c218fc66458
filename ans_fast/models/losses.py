"""Losses over scores, by ReChorus's formulas."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ans_fast.nn.gather import is_free_to_read

_BPR = [f"BPR{hard}{where}" for hard in ("", "hard") for where in ("", "between", "after", "before", "simple")]
LIST_LOSSES = (*_BPR, "listnet", "softmaxCE", "attention_rank")
CLICK_LOSSES = ("BCE", "MSE")
SOFTMAX_LOSSES = ("SSM", "BSL", "SL@K")
VECTOR_LOSSES = (*SOFTMAX_LOSSES, "DirectAU")  # over users' and items' vectors instead, see `nn.contrast`
NEVER = -1e30  # the score of what is not in a list: finite, so that no gradient becomes NaN
CLAMP = 40.0  # exp(-40) is below the rounding of float64


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
    shown = column < (n_pos + n_neg)[:, None]
    negative = shown & ~positive
    scores = scores.masked_fill(~shown, 0.0)  # whatever it was
    if name.startswith("BPR"):
        return _list_bpr(name.removeprefix("BPR"), scores, positive, negative)
    log_share = _log_softmax(scores, shown)
    if name == "softmaxCE":
        return -(log_share.masked_fill(~positive, 0.0).sum(1) / n_pos).mean()
    target = _log_softmax(positive.to(scores.dtype), shown).exp()
    loss = -(target * log_share.masked_fill(~shown, 0.0)).sum(1)
    if name == "attention_rank":
        loss = loss - ((1 - target) * _log_rest(log_share)).masked_fill(~shown, 0.0).sum(1)
    return loss.mean()


def _log_rest(log_share: Tensor) -> Tensor:
    """log(1 - share); of the largest share, which may round to 1, by adding up the others."""
    largest = torch.zeros_like(log_share, dtype=torch.bool).scatter(1, log_share.argmax(1, keepdim=True), True)
    others = log_share.masked_fill(largest, NEVER)
    return torch.where(largest, others.logsumexp(1, keepdim=True), (-others.exp()).log1p())


def _log_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """log-softmax over the columns in `mask`; elsewhere what has no share."""
    return scores.masked_fill(~mask, NEVER).log_softmax(1)


def _list_bpr(variant: str, scores: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    # P: columns that hold a positive anywhere, or all, where counting would wait
    n_first = int(positive.sum(1).max()) if is_free_to_read(positive) else positive.shape[1]
    pos, positive = scores[:, :n_first], positive[:, :n_first]
    log_weight_pos = _log_softmax(-pos if "hard" in variant else pos, positive)  # [L, P]
    if variant.removeprefix("hard") in ("", "between"):
        return -(log_weight_pos + _log_chance(pos, scores, negative)).logsumexp(1).mean()
    weight_pos, weight_neg = log_weight_pos.exp(), _log_softmax(scores, negative).exp()[:, None, :]
    difference = pos[:, :, None] - scores[:, None, :]  # [L, P, W]
    if variant.endswith("after"):
        return -((F.logsigmoid(difference) * weight_neg).sum(2) * weight_pos).sum(1).mean()
    if variant.endswith("before"):
        return -(F.logsigmoid((difference * weight_neg).sum(2) * weight_pos) * positive).sum(1).mean()
    return -(F.logsigmoid(difference) * (positive[:, :, None] & negative[:, None, :])).sum((1, 2)).mean()


def _log_chance(pos: Tensor, scores: Tensor, negative: Tensor) -> Tensor:
    """log of the softmax-weighted mean of sigmoid(p - n) over the negatives n [L, W], for p in pos [L, P]: [L, P].

    e^n sigmoid(p - n) = 1 / (e^-n + e^-p). With both scaled by e^q, q = min(p, the largest n), their sum over the
    negatives can neither overflow nor vanish; terms that clamping alters are below the rounding of the sum.
    """
    neg = scores.masked_fill(~negative, NEVER)
    q = torch.minimum(pos, neg.amax(1, keepdim=True)).detach()
    parts = 1 / ((q[:, :, None] - neg[:, None, :]).clamp(max=CLAMP).exp() + (q - pos).exp()[:, :, None])
    return q - neg.logsumexp(1, keepdim=True) + (parts * negative[:, None, :]).sum(2).log()
