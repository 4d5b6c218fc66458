"""Losses over vectors against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from ans_fast.nn.contrast import (
    Negatives,
    OwnNegatives,
    alignment_and_uniformity,
    bilateral_softmax,
    sampled_softmax,
    top_k_weights,
    uniformity,
)


def unit_rows(n: int, seed: int) -> torch.Tensor:
    rows = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return normalize(rows, dim=1).requires_grad_()


def cosines_of(users: torch.Tensor, items: torch.Tensor) -> list[list[float]]:
    u, i = users.tolist(), items.tolist()
    return [[sum(x * y for x, y in zip(row, other, strict=True)) for other in i] for row in u]


def losses_of(users, items, ids, negatives: Negatives) -> tuple[torch.Tensor, torch.Tensor]:
    """SSM at 0.2, and BSL at 0.1 for the pairs."""
    sums, cosines = negatives.log_sums(users, ids, 0.2), (users * items).sum(1)
    return sampled_softmax(cosines / 0.2, sums), bilateral_softmax(cosines / 0.1, sums)


def test_softmaxes_are_the_formulas():
    users, items, ids = unit_rows(5, 0), unit_rows(5, 1), torch.tensor([3, 1, 3, 0, 9])
    others, other_ids, bias = unit_rows(7, 2), torch.tensor([3, 9, 4, 0, 9, 3, 5]), torch.linspace(-1, 1, 7).double()
    for negatives in (Negatives(items, ids), Negatives(others, other_ids, bias)):
        ssm, bsl = losses_of(users, items, ids, negatives)
        own, many = cosines_of(users, items), cosines_of(users, negatives.rows)
        added = [0.0] * 5 if negatives.bias is None else bias.tolist()
        for b in range(5):
            counted = [n for n, other in enumerate(negatives.ids.tolist()) if other != ids[b]]
            total = sum(math.exp(many[b][n] / 0.2 + added[n]) for n in counted)
            positive = math.exp(own[b][b] / 0.2)
            assert ssm[b].item() == pytest.approx(-math.log(positive / (positive + total)), rel=1e-12)
            assert bsl[b].item() == pytest.approx(math.log(total) - own[b][b] / 0.1, rel=1e-12)


@pytest.mark.parametrize("bias", [None, torch.linspace(-1, 1, 15).double().view(5, 3)])
def test_own_negatives_are_those_of_each_row(bias):
    users, items, places = unit_rows(5, 0), unit_rows(4, 1), torch.arange(15).view(5, 3) % 4
    got = OwnNegatives(items, places, bias).log_sums(users, 0.2)
    cosines = cosines_of(users, items)
    for b, row in enumerate(places.tolist()):
        added = [0.0] * 3 if bias is None else bias[b].tolist()
        total = sum(math.exp(cosines[b][n] / 0.2 + more) for n, more in zip(row, added, strict=True))
        assert got[b].item() == pytest.approx(math.log(total), rel=1e-12)


def test_gradients_of_softmaxes():
    ids = torch.tensor([3, 1, 3, 0])

    def both(users, items, others):
        return losses_of(users, items, ids, Negatives(others, torch.tensor([3, 0, 7])))

    assert torch.autograd.gradcheck(both, (unit_rows(4, 0), unit_rows(4, 1), unit_rows(3, 2)))


def test_pairs_without_negatives_have_none_to_be_told_from():
    users, items, ids = unit_rows(3, 0), unit_rows(3, 1), torch.tensor([4, 4, 4])
    ssm, bsl = losses_of(users, items, ids, Negatives(items, ids))
    assert ssm.tolist() == [0, 0, 0]
    torch.testing.assert_close(bsl, -(users * items).sum(1) / 0.1)
    assert not torch.autograd.grad(ssm.sum(), users, retain_graph=True)[0].any()
    assert torch.autograd.grad(bsl.sum(), users)[0].isfinite().all()


def test_softmax_of_distinct_ids_is_the_cross_entropy_of_all():
    users, items, ids = unit_rows(6, 0), unit_rows(6, 1), torch.arange(6)
    found = losses_of(users, items, ids, Negatives(items, ids))[0].mean()
    torch.testing.assert_close(found, cross_entropy(users @ items.t() / 0.2, ids))


def test_weights_of_the_top_k_are_the_formula():
    found = top_k_weights(torch.tensor([0.9, 0.2]), torch.tensor([0.5, 0.5]), 0.5)
    assert found.tolist() == pytest.approx([1 / (1 + math.exp(-0.8)), 1 / (1 + math.exp(0.6))])


def test_direct_au_is_the_formula():
    users, items = unit_rows(7, 0), unit_rows(7, 1)
    alignment, weighed = alignment_and_uniformity(users, items, 0.5)
    assert alignment.item() == pytest.approx((users - items).norm(dim=1).square().mean().item(), rel=1e-12)
    expected = [torch.pdist(x).square().mul(-2).exp().mean().log().item() for x in (users, items)]
    assert weighed.item() == pytest.approx(0.5 * sum(expected) / 2, rel=1e-12)
    assert torch.autograd.gradcheck(uniformity, (users,))
    assert uniformity(users[:1]).item() == 0
