"""fit, recommend, save and load; initialisation; the ANS loss put together from its terms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ans_fast
from ans_fast import UserError, models, ops
from ans_fast.models.dot_product import pair_scores
from ans_fast.models.modes import IMPRESSION
from ans_fast.ops._seed import draw_seeds
from ans_fast.training.batches import Query, Rows
from ans_fast.training.optimizer import parameter_groups

NAMES = ["ANS", "LightGCN", "BPRMF"]


@pytest.fixture
def graph() -> ans_fast.BipartiteGraph:
    """40 users and 30 items in five groups that keep to themselves."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(40), 4)
    items = users % 5 + 5 * rng.integers(0, 6, len(users))
    return ans_fast.BipartiteGraph(users, items, 40, 30)


@pytest.mark.parametrize("name", NAMES)
def test_fit_learns_and_recommends_unclicked(graph, name):
    torch.manual_seed(0)
    model = models.by_name(name)(graph, emb_size=16)
    losses = model.fit(epochs=60, batch_size=32, lr=0.02)
    assert len(losses) == 60
    assert losses[-1] < 0.8 * losses[0]
    users = [0, 7, 39]
    items, scores = model.recommend(users, k=2)
    assert items.shape == scores.shape == (3, 2)
    assert items.dtype == np.int64
    assert (np.diff(scores, axis=1) <= 0).all()
    for user, row in zip(users, items, strict=True):
        clicked = graph.indices[graph.indptr[user] : graph.indptr[user + 1]].numpy() - graph.n_users
        assert not set(row) & set(clicked)
    everyone, _ = model.recommend(np.arange(40), k=1)
    assert (everyone[:, 0] % 5 == np.arange(40) % 5).mean() > 0.8


@pytest.mark.parametrize("name", [*NAMES, "POP"])
def test_save_and_load(graph, tmp_path, name):
    model = models.by_name(name)(graph, first_item=1)
    model.save(tmp_path / "sub" / "model.pt")
    loaded = models.load(tmp_path / "sub" / "model.pt")
    assert type(loaded) is type(model)
    assert loaded.first_item == 1
    assert torch.equal(loaded.graph.indices, graph.indices)
    for ours, theirs in zip(model.recommend(range(40), 3), loaded.recommend(range(40), 3), strict=True):
        assert np.array_equal(ours, theirs)
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["model.pt"]


def test_load_errors(graph, tmp_path):
    models.BPRMF(graph).save(tmp_path / "model.pt")
    with pytest.raises(UserError, match="holds a BPRMF, expected a LightGCN"):
        models.LightGCN.load(tmp_path / "model.pt")
    with pytest.raises(UserError, match="no such file"):
        models.load(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(UserError, match="damaged or holds no weights"):
        models.load(tmp_path / "text.pt")
    torch.save({"a": 1}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="does not hold a model that ans_fast saved"):
        models.load(tmp_path / "other.pt")


def test_recommend_errors_and_short_rows(graph):
    model = models.POP(graph)
    with pytest.raises(UserError, match=r"users must be in \[0, 40\)"):
        model.recommend([40])
    for ids, kind in (([0.9], "float64"), (torch.tensor([True]), "bool"), (["ann"], "<U3")):
        with pytest.raises(UserError, match=f"users must be whole numbers, as this POP was made .*, got {kind}"):
            model.recommend(ids)
    with pytest.raises(UserError, match=r"k must be in \[1, 30\]"):
        model.recommend([0], k=31)
    assert np.array_equal(model.recommend(torch.tensor([[3, 1]]))[0], model.recommend([3, 1])[0])
    items, scores = model.recommend([0], k=30)
    n_clicked = int(graph.degrees[0])
    assert (items[0, -n_clicked:] == -1).all()
    assert (scores[0, -n_clicked:] == -np.inf).all()
    assert model.recommend([], k=3)[0].shape == (0, 3)


def test_state_dict_has_rechorus_names(graph):
    lightgcn, bprmf = models.LightGCN(graph), models.BPRMF(graph)
    assert list(bprmf.state_dict()) == ["u_embeddings.weight", "i_embeddings.weight"]
    names = ["encoder.embedding_dict.user_emb", "encoder.embedding_dict.item_emb"]
    assert list(lightgcn.state_dict()) == names
    weights = {names[0]: torch.rand(40, 64), names[1]: torch.rand(30, 64)}
    lightgcn.load_weights(weights, "weights.pt")
    assert torch.equal(lightgcn.table.weight.detach(), torch.cat(list(weights.values())))
    with pytest.raises(UserError, match=r"weights.pt: weights must hold .*user_emb, .*item_emb, got "):
        lightgcn.load_weights({names[0]: torch.rand(40, 64)}, "weights.pt")


def test_initialisation():
    torch.manual_seed(0)
    graph = ans_fast.BipartiteGraph([0], [0], 900, 300)
    users, items = models.LightGCN(graph).table.parts()
    assert users.abs().max().item() == pytest.approx((6 / 964) ** 0.5, rel=0.01)
    assert items.abs().max().item() == pytest.approx((6 / 364) ** 0.5, rel=0.01)
    assert models.BPRMF(graph).table.weight.std().item() == pytest.approx(0.01, rel=0.02)
    for model in (models.LightGCN, models.BPRMF):
        assert model(graph, init_std=0.1).table.weight.std().item() == pytest.approx(0.1, rel=0.02)


def test_lightgcn_means_hops(graph):
    model = models.LightGCN(graph, emb_size=8, n_layers=3)
    wanted = ops.propagate(model.table.weight, graph, 3).mean(1)
    assert torch.allclose(model.nodes(), wanted, atol=1e-7)


def test_lightgcn_regularises_as_its_code(graph):
    """mean of softplus(neg − pos) + decay · ½ (|E_u|² + |E_p|² + |E_n|²) / B over layer-0 rows, each as often as it
    comes: bpr_loss of LightGCN-PyTorch's model.py, written out."""
    torch.manual_seed(0)
    model = models.LightGCN(graph, emb_size=8, reg_weight=0.3, require_pow=1, init_std=0.1)
    users, items, negatives = torch.tensor([0, 3, 3]), torch.tensor([1, 2, 2]), torch.tensor([5, 5, 9])
    loss, parts = model.loss(Rows(users, items, negatives[:, None]), [])
    vectors, table = model.nodes(), model.table.weight
    total = 0.0
    for u, p, n in zip(users, items + 40, negatives + 40, strict=True):
        difference = (vectors[u] * vectors[n]).sum() - (vectors[u] * vectors[p]).sum()
        squares = sum(table[row].square().sum() for row in (u, p, n))
        total += torch.log1p(difference.exp()) / 3 + 0.3 * 0.5 * squares / 3
    assert loss.item() == pytest.approx(total.item(), rel=1e-5)
    assert {*parts} == {"BPR", "reg"}
    for mode in ("Impression", "CTR"):
        with pytest.raises(UserError, match=f"reg_weight of LightGCN has no effect with mode {mode}, only with TopK"):
            models.LightGCN(graph, mode=mode, reg_weight=0.3)


def test_ans_scores_sum_over_hops(graph):
    model = models.ANS(graph, emb_size=8, n_layers=2).eval()
    hops = ops.propagate(model.table.weight, graph, 2).detach()
    users, items = torch.tensor([3, 5]), torch.tensor([[1, 2], [3, 4]])
    wanted = (hops[users][:, None] * hops[40 + items]).sum((2, 3))
    assert torch.allclose(model.score(model.precompute(), Query(users, items)), wanted, atol=1e-6)
    ego = models.ANS(graph, emb_size=8, predict_with="ego").eval()
    rows = ego.table.weight.detach()
    scores = ego.score(ego.precompute(), Query(users, items))
    assert torch.allclose(scores, (rows[users][:, None] * rows[40 + items]).sum(2), atol=1e-6)


@pytest.mark.parametrize("require_pow", [0, 1])
def test_ans_loss_is_put_together(graph, require_pow):
    model = models.ANS(graph, emb_size=8, gamma=0.3, reg_weight=0.7, require_pow=require_pow, num_neg=3)
    users, items = torch.tensor([0, 1, 1, 5]), torch.tensor([0, 1, 6, 5])
    torch.manual_seed(1)
    seeds = draw_seeds(model.seed_count)
    loss, t = model.loss(model.draw(Rows(users, items), seeds), seeds)
    torch.manual_seed(1)
    negatives = ops.sample_negatives(graph, users, 3)
    rows = model.table.weight.detach()
    parts = [rows[users], rows[40 + items], rows[40 + negatives.flatten()]]
    norms = [part.norm().item() ** (2 if require_pow else 1) for part in parts]
    reg = sum(norms) / 4 / (2 if require_pow else 1)
    assert t["reg"].item() == pytest.approx(reg, rel=1e-5)
    assert loss.item() == pytest.approx(
        t["bpr"].item() + 0.3 * (t["sns"] + t["distance"] + t["orthogonality"]).item() + 0.7 * reg, rel=1e-5
    )


@pytest.mark.parametrize("loss_n", ["BPR", "SSM"])
def test_ans_without_its_gate_lays_noise_on_all_factors(graph, loss_n):
    """The noise and the selection written out without a word of hard and easy, and no auxiliary terms."""
    torch.manual_seed(0)
    options = dict(emb_size=8, n_layers=1, num_neg=3, eps=2.0, noise_scale=5.0, gate=0, loss_n=loss_n)
    model = models.ANS(graph, gamma=0.3, **options)
    assert [name for name in model.state_dict() if "embedding" not in name] == ["margin.weight", "margin.bias"]
    seeds = draw_seeds(model.seed_count)
    batch = model.draw(Rows(torch.tensor([0, 1, 1, 5]), torch.tensor([0, 1, 6, 5])), seeds)
    loss, parts = model.loss(batch, seeds)
    assert list(parts) == [{"BPR": "bpr"}.get(loss_n, loss_n)]

    hops = ops.propagate(model.table.weight, graph, 1)
    if loss_n == "SSM":
        hops = hops / hops.norm(dim=(1, 2), keepdim=True)
    u, p, n = (hops[ids] for ids in (batch.users, 40 + batch.items, 40 + batch.neg_items))
    u, p = u[:, None], p[:, None]
    r = ans_fast.ops.ans_noise(seeds[-1], 4 * 3 * 2, 8).view_as(n)
    margin = (1 / ((n * p) @ model.margin.weight[0] / 4 + model.margin.bias)).sigmoid()
    added = 5.0 * margin[..., None] * torch.sign(p - n).detach() * r / r.norm(dim=-1, keepdim=True)
    chosen = ((u * n).sum(-1) + 3.0 * (u * added).sum(-1)).argmax(1)  # [B, H]
    of_chosen = (u * (n + added)).sum(-1).gather(1, chosen[:, None]).sum((1, 2))
    own = (u * p).sum((1, 2, 3))
    if loss_n == "BPR":
        expected = -(own - of_chosen).sigmoid().log().mean()
    else:
        scores = hops[batch.users].flatten(1) @ hops[40 + batch.items].flatten(1).T  # all four items differ
        expected = (torch.cat([scores, of_chosen[:, None]], 1) / 0.1).logsumexp(1).sub(own / 0.1).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        torch.autograd.grad(loss, [*model.parameters()]),
        torch.autograd.grad(expected, [*model.parameters()]),
        rtol=1e-4,
        atol=1e-6,
    )
    with_gate = models.ANS(graph, **{**options, "gate": 1})
    assert len([*with_gate.parameters()]) == len([*model.parameters()]) + 4


def test_ans_decays_embeddings_only(graph):
    model = models.ANS(graph)
    decayed, free = parameter_groups(model, 0.1)
    assert [p.shape for p in decayed["params"]] == [torch.Size([70, 64])]
    assert decayed["weight_decay"] == 0.1
    assert free["weight_decay"] == 0
    assert len(free["params"]) == 6


def test_pairs_of_lists():
    lists = Rows(
        torch.tensor([4, 9]),
        torch.tensor([[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]]),
        n_pos=torch.tensor([2, 1]),
        n_neg=torch.tensor([3, 1]),
    )
    users, pos, neg, count = IMPRESSION.pairs(lists)
    assert users.tolist() == [4, 4, 9]
    assert pos.tolist() == [1, 2, 6]
    assert count.tolist() == [3, 3, 1]
    assert neg[:2].tolist() == [[3, 4, 5]] * 2
    assert neg[2, 0] == 7


def test_pair_scores():
    users, items = torch.randn(5, 7), torch.randn(9, 7)
    for n_candidates in (1, 4, 12):
        candidates = torch.randint(9, (5, n_candidates))
        wanted = (users[:, None] * items[candidates]).sum(2)
        assert torch.allclose(pair_scores(users, items, candidates), wanted, atol=1e-5)
    assert pair_scores(users[:0], items, candidates[:0]).shape == (0, 12)


def test_wrong_options(graph):
    with pytest.raises(
        UserError, match="loss_n of BPRMF must be one of BPR, SSM, BSL, SL@K, DirectAU in TopK mode, got"
    ):
        models.BPRMF(graph, loss_n="BCE")
    with pytest.raises(UserError, match="BPRMF has no mode 'topk'"):
        models.BPRMF(graph, mode="topk")
    with pytest.raises(UserError, match="fit trains in TopK mode"):
        models.BPRMF(graph, mode="CTR").fit()
    with pytest.raises(UserError, match=r"optimizer of BPRMF\.fit must be one of"):
        models.BPRMF(graph).fit(optimizer="adam")
    with pytest.raises(UserError, match=r"unknown model 'Lightgcn'.*did you mean LightGCN"):
        models.by_name("Lightgcn")
