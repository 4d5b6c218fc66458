"""Losses over vectors against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from ans_fast.nn.contrast import alignment_and_uniformity, sampled_softmax, uniformity


def unit_rows(n: int, seed: int) -> torch.Tensor:
    rows = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return normalize(rows, dim=1).requires_grad_()


def test_softmax_is_the_formula():
    users, items, ids = unit_rows(5, 0), unit_rows(5, 1), torch.tensor([3, 1, 3, 0, 9])
    u, i = users.tolist(), items.tolist()
    total = 0.0
    for b in range(5):
        scores = [sum(x * y for x, y in zip(u[b], i[n], strict=True)) / 0.2 for n in range(5)]
        others = [math.exp(score) for n, score in enumerate(scores) if ids[n] != ids[b]]
        total -= math.log(math.exp(scores[b]) / (math.exp(scores[b]) + sum(others))) / 5
    assert sampled_softmax(users, items, ids, 0.2).item() == pytest.approx(total, rel=1e-12)
    assert torch.autograd.gradcheck(lambda u, i: sampled_softmax(u, i, ids, 0.2), (users, items))


def test_a_batch_of_one_item_has_no_negatives():
    users, items = unit_rows(3, 0), unit_rows(3, 1)
    loss = sampled_softmax(users, items, torch.tensor([4, 4, 4]), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert not users.grad.any()


def test_direct_au_is_the_formula():
    users, items = unit_rows(7, 0), unit_rows(7, 1)
    alignment, weighed = alignment_and_uniformity(users, items, 0.5)
    assert alignment.item() == pytest.approx((users - items).norm(dim=1).square().mean().item(), rel=1e-12)
    expected = [torch.pdist(x).square().mul(-2).exp().mean().log().item() for x in (users, items)]
    assert weighed.item() == pytest.approx(0.5 * sum(expected) / 2, rel=1e-12)
    assert torch.autograd.gradcheck(uniformity, (users,))
    assert uniformity(users[:1]).item() == 0


def test_softmax_of_distinct_ids_is_the_cross_entropy_of_all():
    users, items = unit_rows(6, 0), unit_rows(6, 1)
    found = sampled_softmax(users, items, torch.arange(6), 0.2)
    torch.testing.assert_close(found, cross_entropy(users @ items.t() / 0.2, torch.arange(6)))
