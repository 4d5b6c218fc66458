"""Choices of negatives: each trains, and chooses what it says."""

from __future__ import annotations

import pytest
import torch

from ans_fast import ops
from ans_fast.errors import NoNegatives, UserError
from ans_fast.graph import BipartiteGraph
from ans_fast.models import ANS, BPRMF, LightGCN, Recommender
from ans_fast.models.encoded import SAMPLINGS
from ans_fast.ops._seed import draw_seeds
from ans_fast.runner.arguments import parse
from ans_fast.runner.main import run
from ans_fast.training.batches import Rows
from tests.conftest import random_graph


@pytest.fixture
def graph():
    return random_graph(40, 50, 300)


def sampled(name):
    """The options of a choice, with few candidates where it looks at any."""
    return {"negative_sampling": name, **({"n_candidates": 4} if "n_candidates" in SAMPLINGS[name] else {})}


@pytest.mark.parametrize("num_neg", [1, 3])
@pytest.mark.parametrize("model", [BPRMF, LightGCN])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_loss_falls(graph, sampling, model, num_neg):
    torch.manual_seed(0)
    made = model(graph, emb_size=8, **sampled(sampling), num_neg=num_neg, first_item=1)
    losses = made.fit(epochs=30, lr=0.02)
    assert losses[-1] < losses[0]
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in made.parameters())


def test_popular_items_come_by_their_clicks(graph):
    torch.manual_seed(0)
    model = BPRMF(graph, negative_sampling="popularity", num_neg=2000, first_item=1)
    users = torch.tensor([3, 39])  # 39 has clicked nothing
    drawn = model.draw_negatives(users, *draw_seeds(1))
    own = graph.indices[graph.indptr[3] : graph.indptr[4]].long() - graph.n_users
    assert not torch.isin(drawn[0], own).any()
    weights = graph.degrees[graph.n_users :].double() ** 0.75
    weights[0] = 0
    for row, free in ((0, weights.index_fill(0, own, 0)), (1, weights)):
        counts = torch.bincount(drawn[row], minlength=graph.n_items)
        assert (counts / 2000 - free / free.sum()).abs().max() < 0.02


@pytest.mark.parametrize("sampler", ["uniform", "popularity"])
def test_shared_items_come_by_their_chances(graph, sampler):
    drawn_by = BPRMF(graph, loss_n="SSM", n_shared=1, negative_sampling=sampler, first_item=1).sampler
    chances = drawn_by.chances(graph, torch.arange(1, graph.n_items))
    assert chances.sum().item() == pytest.approx(1)
    weights = graph.degrees[graph.n_users + 1 :].double() ** (0.75 if sampler == "popularity" else 0)
    torch.testing.assert_close(chances, weights / weights.sum())
    drawn = drawn_by.shared(graph, 20_000, torch.tensor([3]))
    counts = torch.bincount(drawn, minlength=graph.n_items)
    assert len(drawn) == 20_000
    assert counts[0] == 0
    assert (counts[1:] / 20_000 - chances).abs().max() < 0.005


def parts_of(model, users, items):
    """What a choice is made by: the rows of clicks' users and items, and those of all items."""
    hops = model.hops().detach() if model.hard.hop_by_hop else model.nodes().detach()[:, None]
    item_hops = hops[model.graph.n_users :]
    return hops[users], item_hops[items], item_hops


@pytest.mark.parametrize("model", [BPRMF, LightGCN])
def test_dns_takes_the_highest_scored(graph, model):
    made = model(graph, emb_size=8, negative_sampling="DNS", num_neg=2)
    users, candidates = torch.arange(5), torch.randint(0, 50, (5, 2, 6))
    hardest = made.hard.hardest(*parts_of(made, users, users), candidates)
    vectors = made.nodes().detach()
    assert hardest.shape == (5, 2, 1)
    for b in range(5):
        for k in range(2):
            scores = vectors[40 + candidates[b, k]] @ vectors[b]
            assert hardest[b, k, 0] == candidates[b, k, scores.argmax()]


def test_mixgcf_takes_each_hop_of_the_highest_scored_there(graph):
    made = LightGCN(graph, emb_size=8, n_layers=2, negative_sampling="MixGCF")
    hops = made.hops().detach()
    users, candidates = torch.arange(5), torch.randint(0, 50, (5, 1, 6))
    hardest = made.hard.hardest(*parts_of(made, users, users), candidates)
    for b in range(5):
        for h in range(3):
            scores = hops[40 + candidates[b, 0], h] @ hops[b].mean(0)
            assert hardest[b, 0, h] == candidates[b, 0, scores.argmax()]


def test_mixgcf_mixes_the_clicked_item_in(graph):
    made = LightGCN(graph, emb_size=8, negative_sampling="MixGCF")
    p, n = torch.zeros(5, 4, 8), torch.ones(5, 3, 4, 8)
    share = 1 - made.hard.negatives(p, n, made.hard.draw(torch.arange(5), 3, 4, draw_seeds(1)[0]))
    assert (share == share[..., :1]).all()
    assert share.unique().numel() == 5 * 3 * 4
    assert 0 <= share.min() <= share.max() < 1


@torch.no_grad()
@pytest.mark.parametrize("warm", [0.0, 0.25, 1.0])
def test_dens_takes_what_its_gates_say(graph, warm):
    torch.manual_seed(0)
    made = LightGCN(graph, emb_size=8, n_layers=2, negative_sampling="DENS", dens_warmup=4)
    made.hard.seen.fill_(int(warm * 4 * graph.n_edges))
    users, items, candidates = torch.arange(5), torch.arange(9, 14), torch.randint(0, 50, (5, 1, 6))
    made.hard.draw(users, 1, 3, draw_seeds(1)[0])
    hardest = made.hard.hardest(*parts_of(made, users, items), candidates)
    hops, gates = made.hops(), made.hard.gates
    for b in range(5):
        for h in range(3):
            u, p, n = hops[b, h], hops[40 + items[b], h], hops[40 + candidates[b, 0], h]
            relevant_pos = p * torch.sigmoid(gates["item"](p) + gates["user"](u))
            relevant = n * torch.sigmoid(gates["neg"](n) + gates["pos"](relevant_pos))
            scores = ((1 - warm) * n - relevant) @ u
            assert hardest[b, 0, h] == candidates[b, 0, scores.argmax()]


def test_dens_counts_what_it_has_seen(graph):
    model = BPRMF(graph, emb_size=4, negative_sampling="DENS")
    seeds = draw_seeds(model.seed_count)
    _, parts = model.loss(model.draw(Rows(torch.tensor([1, 2]), torch.tensor([3, 4])), seeds), seeds)
    assert int(model.hard.seen) == 2
    assert "DENS" in parts


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_trains_as_the_reference_does(graph, sampling):
    losses = []
    for backend in ("fused", "reference"):
        torch.manual_seed(0)
        with ops.backend(backend):
            model = LightGCN(graph, emb_size=8, **sampled(sampling), num_neg=2, first_item=1)
            losses.append(model.fit(epochs=3, batch_size=64, lr=0.01))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("sampling", ["DNS", "MixGCF", "DENS"])
def test_hard_choices_are_saved_and_loaded(graph, sampling, tmp_path):
    model = LightGCN(graph, emb_size=8, **sampled(sampling))
    model.fit(epochs=1)
    model.save(tmp_path / "model.pt")
    again = LightGCN.load(tmp_path / "model.pt")
    assert again.negative_sampling == sampling
    states = model.state_dict(), again.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("model", ["BPRMF", "LightGCN"])
def test_ans_is_trained_over_the_model(graph, model):
    args = parse(["--model_name", model, "--negative_sampling", "ANS", "--emb_size", "8", "--gamma", "0.02"])
    made = args.model.from_data(None, graph, **args.model_options)
    assert args.model is type(made) is ANS
    assert (made.base_model, made.emb_size, made.gamma) == (model, 8, 0.02)
    assert (made.num_neg, args.l2) == (2, 1e-5)


def test_flags_given_win_over_those_of_ans():
    args = parse(["--num_neg", "1", "--model_name", "LightGCN", "--negative_sampling", "ANS", "--l2", "0"])
    assert (args.model_options["num_neg"], args.l2) == (1, 0)
    args = parse(["--model_name", "LightGCN", "--negative_sampling", "DNS"])
    assert (args.model_options["num_neg"], args.l2) == (1, 0)


def test_ans_over_a_model_is_ans_of_that_base(tmp_path, monkeypatch):
    """The very same weights, which load as ANS, and go on after an interruption."""
    monkeypatch.chdir(tmp_path)
    common = ["--path", "data", "--gpu", "", "--emb_size", "8", "--verbose", "30"]

    def weights_of(name, *flags):
        run([*common, *flags, "--log_file", f"{name}/log.txt", "--model_path", f"{name}/model.pt"])
        return Recommender.load(f"{name}/model.pt").state_dict()

    over = ["--model_name", "BPRMF", "--negative_sampling", "ANS"]
    want = weights_of("ans", "--model_name", "ANS", "--base_model", "BPRMF", "--epoch", "2")
    got = weights_of("whole", *over, "--epoch", "2")
    weights_of("parts", *over, "--epoch", "1")
    resumed = weights_of("parts", *over, "--epoch", "2", "--load", "1")
    assert want.keys() == got.keys() == resumed.keys()
    assert all(torch.equal(want[name], got[name]) and torch.equal(want[name], resumed[name]) for name in want)


def test_mistakes_are_told(graph):
    with pytest.raises(UserError, match="must be one of"):
        BPRMF(graph, negative_sampling="none")
    with pytest.raises(UserError, match="negative_sampling of BPRMF has no effect with mode CTR, only with TopK"):
        BPRMF(graph, negative_sampling="DNS", mode="CTR")
    with pytest.raises(UserError, match=r"a model of its own: ANS\(graph, base_model='BPRMF'\)"):
        BPRMF(graph, negative_sampling="ANS")


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_user_without_negatives_is_told_before_training(sampling):
    """Though it is in the last batch of an epoch."""
    graph = BipartiteGraph([0, 1, 2, 3, 4, 5, 5, 5], [1, 2, 3, 1, 2, 1, 2, 3], 6, 4)
    model = BPRMF(graph, emb_size=4, negative_sampling=sampling, first_item=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(NoNegatives, match="user 5 has clicked every item from 1 on"):
        model.fit(epochs=1, batch_size=1)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert BPRMF(graph, emb_size=4, negative_sampling=sampling).fit(epochs=1)  # item 0 is free


def test_popular_items_survive_moves_and_files(graph, tmp_path):
    """Draws depend on the seed alone; what the graph says is neither in files nor left behind."""
    model = BPRMF(graph, emb_size=4, negative_sampling="popularity", first_item=1)
    users = torch.arange(40)
    torch.manual_seed(3)
    drawn = model.draw_negatives(users, *draw_seeds(1))
    assert set(model.state_dict()) == set(BPRMF(graph, emb_size=4).state_dict())
    model.save(tmp_path / "model.pt")
    loaded = Recommender.load(tmp_path / "model.pt")
    torch.manual_seed(3)
    assert torch.equal(loaded.draw_negatives(users, *draw_seeds(1)), drawn)
    assert all(buffer.device.type == "meta" for buffer in model.to_device("meta").sampler.buffers())


def test_popular_items_of_an_empty_graph():
    """Nothing is popular: negatives are uniform."""
    empty = torch.zeros(0, dtype=torch.int64)
    model = BPRMF(BipartiteGraph(empty, empty, 3, 5), emb_size=4, negative_sampling="popularity", num_neg=40)
    assert model.draw_negatives(torch.arange(3), *draw_seeds(1)).unique().tolist() == [0, 1, 2, 3, 4]
