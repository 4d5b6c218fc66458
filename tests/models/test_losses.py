"""Losses equal their formulas, item by item."""

from __future__ import annotations

import math

import pytest
import torch

from ans_fast.models import losses


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softmax(xs: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in xs)
    return [math.exp(x) / total for x in xs]


def literal(name: str, pos: list[float], neg: list[float]) -> float:
    scores = pos + neg
    if name.startswith("BPR"):
        weight_neg = softmax(neg)
        weight_pos = softmax([-x for x in pos] if "hard" in name else pos)
        pairs = [[p - n for n in neg] for p in pos]
        if name.endswith("after"):
            return sum(
                wp * sum(wn * -math.log(sigmoid(d)) for wn, d in zip(weight_neg, row, strict=True))
                for wp, row in zip(weight_pos, pairs, strict=True)
            )
        if name.endswith("before"):
            return sum(
                -math.log(sigmoid(wp * sum(wn * d for wn, d in zip(weight_neg, row, strict=True))))
                for wp, row in zip(weight_pos, pairs, strict=True)
            )
        if name.endswith("simple"):
            return sum(-math.log(sigmoid(d)) for row in pairs for d in row)
        return -math.log(
            sum(
                wp * sum(wn * sigmoid(d) for wn, d in zip(weight_neg, row, strict=True))
                for wp, row in zip(weight_pos, pairs, strict=True)
            )
        )
    share = softmax(scores)
    if name == "softmaxCE":
        return -sum(math.log(share[i]) for i in range(len(pos))) / len(pos)
    target = softmax([1.0] * len(pos) + [0.0] * len(neg))
    loss = -sum(t * math.log(s) for t, s in zip(target, share, strict=True))
    if name == "attention_rank":
        loss -= sum((1 - t) * math.log(1 - s) for t, s in zip(target, share, strict=True))
    return loss


@pytest.mark.parametrize("name", losses.LIST_LOSSES)
def test_list_losses(name):
    generator = torch.Generator().manual_seed(0)
    sizes = [(1, 1), (3, 2), (1, 5), (6, 1), (2, 2)]
    width = 9
    scores = torch.randn(len(sizes), width, generator=generator, dtype=torch.float64, requires_grad=True)
    n_pos, n_neg = torch.tensor(sizes).T
    wanted = [
        literal(name, row[:p].tolist(), row[p : p + n].tolist()) for row, (p, n) in zip(scores, sizes, strict=True)
    ]
    loss = losses.list_loss(name, scores, n_pos, n_neg)
    assert loss.item() == pytest.approx(sum(wanted) / len(wanted), abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, scores)
    shown = torch.arange(width) < (n_pos + n_neg)[:, None]
    assert gradient[~shown].abs().max() == 0
    assert gradient[shown].isfinite().all()
    assert torch.autograd.gradcheck(lambda s: losses.list_loss(name, s, n_pos, n_neg), (scores,))


@pytest.mark.parametrize("name", losses.LIST_LOSSES)
def test_list_losses_stay_finite_far_out(name):
    scores = torch.tensor([[-300.0, 300.0, 0.0], [300.0, -300.0, 7.0]], requires_grad=True)
    loss = losses.list_loss(name, scores, torch.tensor([1, 1]), torch.tensor([1, 2]))
    loss.backward()
    assert loss.isfinite()
    assert scores.grad.isfinite().all()


def test_top_k_bpr():
    scores = torch.randn(7, 4, dtype=torch.float64)
    wanted = []
    for pos, *neg in scores.tolist():
        wanted.append(-math.log(sum(w * sigmoid(pos - n) for w, n in zip(softmax(neg), neg, strict=True))))
    assert losses.top_k_bpr(scores).item() == pytest.approx(sum(wanted) / 7, abs=1e-12)
    assert losses.top_k_bpr(torch.tensor([[-100.0, 100.0]])).item() == pytest.approx(-math.log(1e-8), rel=1e-5)


def test_click_losses():
    logits, labels = torch.tensor([0.3, -2.0]), torch.tensor([1.0, 0.0])
    p = [sigmoid(0.3), sigmoid(-2.0)]
    assert losses.click_loss("BCE", logits, labels).item() == pytest.approx(-(math.log(p[0]) + math.log(1 - p[1])) / 2)
    assert losses.click_loss("MSE", logits, labels).item() == pytest.approx(((p[0] - 1) ** 2 + p[1] ** 2) / 2)
