"""Losses over vectors: training with them, and the rest of a model that is trained so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

import ans_fast
from ans_fast import UserError, models, ops
from ans_fast.models.losses import VECTOR_LOSSES
from ans_fast.training.batches import Part, Rows


@pytest.fixture
def graph() -> ans_fast.BipartiteGraph:
    """40 users and 30 items in five groups that keep to themselves."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(40), 4)
    return ans_fast.BipartiteGraph(users, users % 5 + 5 * rng.integers(0, 6, len(users)), 40, 30)


CASES = {
    **{name: {"loss_n": name} for name in VECTOR_LOSSES},
    "shared": {"loss_n": "SSM", "n_shared": 24},
    "popular": {"loss_n": "BSL", "n_shared": 24, "negative_sampling": "popularity", "logq": 1},
    "own": {"loss_n": "SL@K", "n_own": 24},
    "own popular": {"loss_n": "BSL", "n_own": 24, "negative_sampling": "popularity", "logq": 1},
    "corrected": {"loss_n": "SSM", "logq": 1},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["BPRMF", "LightGCN"])
def test_fit_learns_and_ranks_by_cosines(graph, tmp_path, name, case):
    torch.manual_seed(0)
    options = {"temperature": 0.2, **CASES[case]}
    if options["loss_n"] == "BSL":
        options["positive_temperature"] = 0.2
    elif options["loss_n"] == "DirectAU":
        del options["temperature"]
    model = models.by_name(name)(graph, emb_size=16, **options)
    losses = model.fit(epochs=40, batch_size=32, lr=0.02)
    assert losses[-1] < losses[0]
    everyone, scores = model.recommend(np.arange(40), k=1)
    assert (everyone[:, 0] % 5 == np.arange(40) % 5).mean() > 0.8
    assert (np.abs(scores) <= 1 + 1e-6).all()
    model.save(tmp_path / "model.pt")
    loaded = models.load(tmp_path / "model.pt")
    assert (loaded.loss_n, loaded.temperature) == (model.loss_n, model.temperature)
    assert np.array_equal(loaded.recommend(np.arange(40), k=1)[1], scores)


@pytest.mark.parametrize("case", CASES)
def test_the_kernels_loss_is_the_references(graph, case):
    torch.manual_seed(0)
    model = models.LightGCN(graph, emb_size=16, **CASES[case])
    batch, seeds = Rows(torch.arange(20), torch.arange(20) % 7), torch.arange(model.seed_count)[:, None].unbind()
    seen = []
    for backend in ("fused", "reference"):
        with ops.backend(backend):
            model.zero_grad()
            loss, _ = model.loss(model.draw(batch, seeds), seeds)
            loss.backward()
            seen.append((loss.detach(), model.table.weight.grad.clone()))
    torch.testing.assert_close(*seen, rtol=1e-4, atol=1e-6)


def test_products_rank_vectors_that_were_trained_by_cosines(graph):
    torch.manual_seed(0)
    model = models.LightGCN(graph, emb_size=16, loss_n="BSL", ranking="product")
    by_cosines = models.LightGCN(graph, emb_size=16, loss_n="BSL")
    by_cosines.load_state_dict(model.state_dict())
    batch, ids = Rows(torch.arange(20), torch.arange(20) % 7), torch.tensor([3, 55])
    assert torch.equal(model.loss(batch, ())[0], by_cosines.loss(batch, ())[0])
    vectors = model.encoder.mean(model.table.weight, graph)
    torch.testing.assert_close(model.nodes(), vectors)
    torch.testing.assert_close(model.rows(ids), vectors[ids])
    torch.testing.assert_close(by_cosines.nodes(), normalize(vectors, dim=1))
    torch.testing.assert_close(by_cosines.rows(ids), normalize(vectors[ids], dim=1))


def test_a_batch_shares_what_is_drawn_for_it(graph):
    model = models.LightGCN(graph, emb_size=16, loss_n="SSM", temperature=0.2, n_shared=5, first_item=1, logq=1)
    batch, seed = Rows(torch.tensor([0, 1]), torch.tensor([5, 6])), torch.tensor([9])
    drawn = model.draw(batch, (seed,))
    shared = drawn.context["drawn"]
    assert shared.shape == (2, 5)
    assert torch.equal(shared[0], shared[1])
    cosines = (model.nodes()[batch.users] @ model.nodes()[40:].t()).exp().pow(5)  # e^(cosine / 0.2)
    counts = torch.bincount(shared[0], minlength=30) * 29 / 5  # each stands for 29 / 5 of the items that can be drawn
    loss = 0.0
    for user, item in ((0, 5), (1, 6)):
        others = counts * cosines[user]
        loss -= (cosines[user, item] / (cosines[user, item] + others.sum() - others[item])).log() / 2
    torch.testing.assert_close(model.loss(drawn, (seed,))[0], loss)
    # a share of the batch has the same negatives, and the losses of shares add up
    parts = [model.loss(Part(drawn, at, at + 1).rows, (seed,))[0] for at in (0, 1)]
    torch.testing.assert_close((parts[0] + parts[1]) / 2, loss)


@pytest.mark.parametrize("sampling", ["uniform", "popularity"])
@pytest.mark.parametrize("logq", [0, 1])
def test_a_click_is_told_from_its_own_negatives(graph, sampling, logq):
    options = dict(negative_sampling=sampling, logq=logq, first_item=1)
    model = models.LightGCN(graph, emb_size=16, loss_n="SSM", temperature=0.2, n_own=5, **options)
    batch, seed = Rows(torch.tensor([0, 1, 0]), torch.tensor([5, 6, 10])), torch.tensor([9])
    drawn = model.draw(batch, (seed,))
    own = drawn.context["drawn"]
    assert own.shape == (3, 5)
    assert len({tuple(row) for row in own.tolist()}) == 3
    clicks = set(zip(*(ids.tolist() for ids in graph.clicks()), strict=True))
    cosines = model.nodes()[batch.users] @ model.nodes()[40:].t()
    loss = 0.0
    for row, (item, negatives) in enumerate(zip(batch.items.tolist(), own.tolist(), strict=True)):
        assert not any(n == 0 or (int(batch.users[row]), n) in clicks for n in negatives)
        chances = model.sampler.chances(graph, own[row]) * 5 if logq else torch.ones(5)
        total = sum((cosines[row, n] / 0.2).exp() / c for n, c in zip(negatives, chances, strict=True))
        own_part = (cosines[row, item] / 0.2).exp()
        loss -= (own_part / (own_part + total)).log() / 3
    torch.testing.assert_close(model.loss(drawn, (seed,))[0], loss.float())
    # each share of the batch has its own rows' negatives, and the losses of shares add up
    parts = [model.loss(Part(drawn, at, at + 1).rows, (seed,))[0] for at in range(3)]
    torch.testing.assert_close(sum(parts) / 3, loss.float())


def test_top_k_weighs_clicks_by_whether_they_are_among_the_best(graph):
    torch.manual_seed(0)
    options = dict(emb_size=16, temperature=0.2)
    model = models.LightGCN(graph, loss_n="SL@K", slk_k=3, slk_every=1, slk_temperature=0.5, **options)
    plain = models.LightGCN(graph, loss_n="SSM", **options)
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if "thresholds" not in name})
    model.begin_epoch()
    assert not model.thresholds.values.any()
    model.begin_epoch()
    users, items = torch.tensor([0, 1]), torch.tensor([5, 6])
    best = model.recommend(users, k=3, exclude_seen=False)[1][:, -1]
    torch.testing.assert_close(model.thresholds.values[:2], torch.tensor(best))
    batch = Rows(users, items)
    each = torch.stack([plain.loss(Part(batch, at, at + 1).rows, ())[0] for at in (0, 1)])
    cosines = (model.rows(users) * model.rows(items + 40)).sum(1)
    expected = (each * torch.sigmoid((cosines - torch.tensor(best)) / 0.5)).mean()
    torch.testing.assert_close(model.loss(Rows(users, items), ())[0], expected)


def test_items_of_a_batch_count_by_how_often_they_are_clicked(graph):
    plain, corrected = (models.BPRMF(graph, emb_size=8, loss_n="BSL", logq=logq) for logq in (0, 1))
    corrected.load_state_dict(plain.state_dict())
    batch = Rows(torch.tensor([0, 1]), torch.tensor([5, 6]))
    clicks = graph.degrees[40 + batch.items] / graph.n_edges
    difference = corrected.loss(batch, ())[0] - plain.loss(batch, ())[0]
    torch.testing.assert_close(difference, -(2 * clicks).log().mean())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(loss_n="SSM", negative_sampling="DNS"), "negative_sampling DNS has no meaning with loss_n SSM"),
        (dict(loss_n="SSM", mode="CTR"), r"loss_n of \w+ must be one of BCE, MSE in CTR mode, got 'SSM'"),
        (dict(loss_n="SSM", negative_sampling="popularity"), "with loss_n SSM, n_shared 0 and n_own 0"),
        (dict(loss_n="SSM", n_shared=4, n_own=3), "n_shared and n_own exclude each other, got 4 and 3"),
        (dict(n_own=4), "n_own of LightGCN has no effect with loss_n BPR, only with SSM, BSL, SL@K"),
        (dict(loss_n="SSM", n_own=5000), r"n_own of \w+ must be an integer from 0 to 4096, got 5000"),
        (dict(n_shared=4), "n_shared of LightGCN has no effect with loss_n BPR, only with SSM, BSL, SL@K"),
        (
            dict(loss_n="DirectAU", n_shared=4),
            "n_shared of LightGCN has no effect with loss_n DirectAU, only with SSM, ",
        ),
        (dict(loss_n="nonsense"), r"loss_n of \w+ must be one of BPR, SSM, BSL, SL@K, DirectAU in TopK mode, got 'no"),
        (dict(loss_n="SSM", temperature=0), r"temperature of \w+ must be a number from 0.001 to 1000, got 0"),
    ],
)
def test_mistakes(graph, options, message):
    with pytest.raises(UserError, match=message):
        models.LightGCN(graph, **options)


def test_other_models_have_bpr_alone(graph):
    with pytest.raises(UserError, match="loss_n of AutoCF must be one of BPR in TopK mode, got 'SSM'"):
        models.AutoCF(graph, loss_n="SSM")
