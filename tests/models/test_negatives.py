"""Choices of negatives: each trains, and chooses what it says."""

from __future__ import annotations

import pytest
import torch

from ans_fast.errors import UserError
from ans_fast.models import BPRMF, LightGCN
from ans_fast.models.negatives import SAMPLINGS
from ans_fast.models.rows import Rows
from tests.conftest import random_graph


@pytest.fixture
def graph():
    return random_graph(40, 50, 300)


@pytest.mark.parametrize("num_neg", [1, 3])
@pytest.mark.parametrize("model", [BPRMF, LightGCN])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_loss_falls(graph, sampling, model, num_neg):
    torch.manual_seed(0)
    made = model(graph, emb_size=8, negative_sampling=sampling, n_candidates=4, num_neg=num_neg, first_item=1)
    losses = made.fit(epochs=30, lr=0.02)
    assert losses[-1] < losses[0]
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in made.parameters())


def test_popular_items_come_by_their_clicks(graph):
    torch.manual_seed(0)
    model = BPRMF(graph, negative_sampling="popularity", num_neg=2000, first_item=1)
    users = torch.tensor([3, 39])  # 39 has clicked nothing
    drawn = model.draw_negatives(users)
    own = graph.indices[graph.indptr[3] : graph.indptr[4]].long() - graph.n_users
    assert not torch.isin(drawn[0], own).any()
    weights = graph.degrees[graph.n_users :].double() ** 0.75
    weights[0] = 0
    for row, free in ((0, weights.index_fill(0, own, 0)), (1, weights)):
        counts = torch.bincount(drawn[row], minlength=graph.n_items)
        assert (counts / 2000 - free / free.sum()).abs().max() < 0.02


@pytest.mark.parametrize("model", [BPRMF, LightGCN])
def test_dns_takes_the_highest_scored(graph, model):
    made = model(graph, emb_size=8, negative_sampling="DNS", num_neg=2)
    hops = made.hops().detach()
    users, candidates = torch.arange(5), torch.randint(0, 50, (5, 2, 6))
    chosen = made._choose(hops, users, users + 40, candidates)
    vectors = hops.mean(1)
    for b in range(5):
        for k in range(2):
            scores = vectors[40 + candidates[b, k]] @ vectors[b]
            assert (chosen[b, k] == candidates[b, k, scores.argmax()]).all()


def test_mixgcf_takes_each_hop_of_the_highest_scored_there(graph):
    made = LightGCN(graph, emb_size=8, n_layers=2, negative_sampling="MixGCF")
    hops = made.hops().detach()
    users, candidates = torch.arange(5), torch.randint(0, 50, (5, 1, 6))
    chosen = made._choose(hops, users, users + 40, candidates)
    for b in range(5):
        for h in range(3):
            scores = hops[40 + candidates[b, 0], h] @ hops[b].mean(0)
            assert chosen[b, 0, h] == candidates[b, 0, scores.argmax()]


def test_dens_counts_what_it_has_seen(graph):
    model = BPRMF(graph, emb_size=4, negative_sampling="DENS")
    model.loss(Rows(torch.tensor([1, 2]), torch.tensor([3, 4])))
    assert int(model.seen) == 2
    assert "dens" in model.terms


def test_mistakes_are_told(graph):
    with pytest.raises(UserError, match="must be one of"):
        BPRMF(graph, negative_sampling="none")
    with pytest.raises(UserError, match="needs TopK mode"):
        BPRMF(graph, negative_sampling="DNS", mode="CTR")
