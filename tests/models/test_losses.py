"""Losses equal their formulas, written once more for one list and one number at a time."""

from __future__ import annotations

import math

import pytest
import torch

from ans_fast.models import losses

SIZES = [(1, 1), (3, 2), (1, 5), (6, 1), (2, 2), (4, 5)]  # clicked and other items of each list
WIDTH = 10
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def softmax(xs: list[float]) -> list[float]:
    top = max(xs)
    total = math.fsum(math.exp(x - top) for x in xs)
    return [math.exp(x - top) / total for x in xs]


def bpr(name: str, pos: list[float], neg: list[float]) -> float:
    weight_neg = softmax(neg)
    weight_pos = softmax([-p for p in pos] if "hard" in name else pos)
    total = 0.0
    if name.endswith("after"):
        for p, wp in zip(pos, weight_pos, strict=True):
            for n, wn in zip(neg, weight_neg, strict=True):
                total += wp * wn * softplus(n - p)
    elif name.endswith("before"):
        for p, wp in zip(pos, weight_pos, strict=True):
            total += softplus(-wp * math.fsum(wn * (p - n) for n, wn in zip(neg, weight_neg, strict=True)))
    elif name.endswith("simple"):
        for p in pos:
            for n in neg:
                total += softplus(n - p)
    else:
        for p, wp in zip(pos, weight_pos, strict=True):
            for n, wn in zip(neg, weight_neg, strict=True):
                total += wp * wn * sigmoid(p - n)
        total = -math.log(total)
    return total


def cross_entropy(name: str, pos: list[float], neg: list[float]) -> float:
    scores = pos + neg
    share = softmax(scores)
    if name == "softmaxCE":
        return -math.fsum(math.log(share[i]) for i in range(len(pos))) / len(pos)
    target = softmax([1.0] * len(pos) + [0.0] * len(neg))
    loss = -math.fsum(t * math.log(s) for t, s in zip(target, share, strict=True))
    if name == "attention_rank":
        for i, t in enumerate(target):
            loss -= (1 - t) * math.log(math.fsum(share[:i] + share[i + 1 :]))  # log(1 - share), without cancellation
    return loss


def literal(name: str, pos: list[float], neg: list[float]) -> float:
    return (bpr if name.startswith("BPR") else cross_entropy)(name, pos, neg)


def made_scores(kind: str, dtype: torch.dtype) -> torch.Tensor:
    scores = torch.randn(len(SIZES), WIDTH, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return {"usual": scores, "ties": scores.round(), "all equal": scores * 0, "large": scores * 60}[kind]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", ["usual", "ties", "all equal", "large"])
@pytest.mark.parametrize("name", losses.LIST_LOSSES)
def test_list_losses(name, kind, dtype):
    scores, (n_pos, n_neg) = made_scores(kind, dtype), torch.tensor(SIZES).T
    wanted = [literal(name, r[:p].tolist(), r[p : p + n].tolist()) for r, (p, n) in zip(scores, SIZES, strict=True)]
    tolerance = dict(rel=TOLERANCE[dtype], abs=TOLERANCE[dtype])
    for i, each in enumerate(wanted):  # one by one, or a large loss would hide a small one
        one = slice(i, i + 1)
        assert losses.list_loss(name, scores[one], n_pos[one], n_neg[one]).item() == pytest.approx(each, **tolerance)
    loss = losses.list_loss(name, scores, n_pos, n_neg)
    assert loss.item() == pytest.approx(sum(wanted) / len(wanted), **tolerance)


@pytest.mark.parametrize("name", losses.LIST_LOSSES)
def test_gradients_of_list_losses(name):
    scores, (n_pos, n_neg) = made_scores("usual", torch.float64).requires_grad_(), torch.tensor(SIZES).T
    assert torch.autograd.gradcheck(lambda s: losses.list_loss(name, s, n_pos, n_neg), (scores,))
    (gradient,) = torch.autograd.grad(losses.list_loss(name, scores, n_pos, n_neg), scores)
    shown = torch.arange(WIDTH) < (n_pos + n_neg)[:, None]
    assert gradient[~shown].abs().max() == 0
    assert gradient[shown].abs().min() > 0


@pytest.mark.parametrize("padding", [0.0, 1e4, -1e4, math.inf, -math.inf])
@pytest.mark.parametrize("name", losses.LIST_LOSSES)
def test_padding_has_no_part(name, padding):
    scores, (n_pos, n_neg) = made_scores("usual", torch.float64), torch.tensor(SIZES).T
    shown = torch.arange(WIDTH) < (n_pos + n_neg)[:, None]
    padded = scores.masked_fill(~shown, padding)
    assert losses.list_loss(name, padded, n_pos, n_neg) == losses.list_loss(name, scores, n_pos, n_neg)


@pytest.mark.parametrize("name", losses.LIST_LOSSES)
def test_list_losses_teach_far_out(name):
    scores = torch.tensor([[-300.0, 300.0, 0.0], [-300.0, 200.0, 7.0]], requires_grad=True)
    loss = losses.list_loss(name, scores, torch.tensor([1, 1]), torch.tensor([1, 2]))
    loss.backward()
    assert loss.isfinite()
    assert scores.grad.isfinite().all()
    assert (scores.grad[:, 0] < -0.1).all()  # raises the clicked item
    assert (scores.grad[:, 1] > 0.1).all()


def test_click_losses():
    logits, labels = torch.tensor([0.3, -2.0, 90.0]), torch.tensor([1.0, 0.0, 0.0])
    p = [sigmoid(x) for x in logits.tolist()]
    wanted = (softplus(-0.3) + softplus(-2.0) + softplus(90.0)) / 3
    assert losses.click_loss("BCE", logits, labels).item() == pytest.approx(wanted)
    assert losses.click_loss("MSE", logits, labels).item() == pytest.approx(
        ((p[0] - 1) ** 2 + p[1] ** 2 + p[2] ** 2) / 3
    )
