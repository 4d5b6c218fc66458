"""ANS whose hardest augmented negative is one more of a softmax."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

import ans_fast
from ans_fast import UserError, models, ops, reference
from ans_fast.training.batches import Part, Rows
from tests.conftest import random_graph

BATCH = Rows(torch.tensor([0, 1, 2, 1]), torch.tensor([5, 6, 5, 7]))
SEEDS = torch.tensor([[3], [4], [5]]).unbind()


@pytest.fixture
def graph() -> ans_fast.BipartiteGraph:
    return random_graph(40, 50, 300)


def made(graph: ans_fast.BipartiteGraph, **options: object) -> models.ANS:
    torch.manual_seed(0)
    return models.ANS(graph, emb_size=8, n_layers=2, num_neg=3, temperature=0.2, gamma=0.3, **options)


def drawn(model: models.ANS) -> tuple[Rows, tuple[Tensor, ...]]:
    seeds = SEEDS[: model.seed_count]
    return model.draw(BATCH, seeds), seeds


@pytest.mark.parametrize("loss_n", ["SSM", "BSL"])
@pytest.mark.parametrize("drawn_by", [{}, {"n_shared": 6}, {"n_own": 6}], ids=str)
def test_the_loss_is_the_formula(graph, drawn_by, loss_n):
    model = made(graph, loss_n=loss_n, positive_temperature=0.1, **drawn_by)
    batch, seeds = drawn(model)
    whole = model.base(model.table.weight, graph).flatten(1)
    rows = (whole / whole.norm(dim=1, keepdim=True)).view(graph.n_nodes, 3, 8)
    users, items = rows.split([40, 50])
    gates = model.user_gate(users[batch.users]), model.item_gate(items)
    terms = reference.ans_terms(
        users, items, *gates, model.margin.weight[0], model.margin.bias, batch.users, batch.items, batch.neg_items,
        None, model.eps, model.noise_scale, seeds[-1],
    )  # fmt: skip
    cosines = users.flatten(1)[batch.users] @ items.flatten(1).t()
    ids = batch.context["drawn"] if drawn_by else batch.items.expand(4, -1)
    expected = 0.0
    for b, item in enumerate(batch.items.tolist()):
        hardest = cosines[b, item] - terms.differences[b]
        negatives = [cosines[b, n] for n in ids[b].tolist() if n != item] + [hardest]
        total = sum((negative / 0.2).exp() for negative in negatives)
        if loss_n == "SSM":
            expected -= torch.log((cosines[b, item] / 0.2).exp() / ((cosines[b, item] / 0.2).exp() + total)) / 4
        else:
            expected -= (cosines[b, item] / 0.1 - total.log()) / 4
    loss, parts = model.loss(batch, seeds)
    assert list(parts) == [loss_n, "sns", "distance", "orthogonality"]
    torch.testing.assert_close(parts[loss_n], expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(loss, expected + 0.3 * (terms.sns + terms.distance + terms.orthogonality))


@pytest.mark.parametrize(
    "options", [dict(loss_n="SSM"), dict(loss_n="BSL", n_shared=6, logq=1), dict(loss_n="BSL", n_own=6)]
)
def test_the_kernels_loss_is_the_references(graph, options):
    seen = []
    for backend in ("fused", "reference"):
        model = made(graph, **options)
        batch, seeds = drawn(model)
        with ops.backend(backend):
            loss, _ = model.loss(batch, seeds)
            loss.backward()
        assert model.margin.weight.grad.any()
        seen.append([loss.detach(), *(parameter.grad for parameter in model.parameters())])
    for fused, plain in zip(*seen, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("drawn_by", [{}, {"n_shared": 6}, {"n_own": 6}], ids=str)
def test_shares_of_a_batch_add_up_to_its_loss(graph, drawn_by):
    model = made(graph, loss_n="SSM", **drawn_by)
    batch, seeds = drawn(model)
    parts = [Part(batch, begin, begin + 2) for begin in (0, 2)]
    losses = [model.loss(part.rows, seeds)[0] * part.weight for part in parts]
    torch.testing.assert_close(sum(losses), model.loss(batch, seeds)[0])


@pytest.mark.parametrize("options", [dict(loss_n="SSM"), dict(loss_n="BSL", n_shared=20)])
def test_fit_learns_and_ranks_by_cosines(graph, tmp_path, options):
    model = made(graph, **options)
    losses = model.fit(epochs=20, batch_size=64, lr=0.02)
    assert losses[-1] < losses[0]
    torch.testing.assert_close(model.nodes(), normalize(model.nodes(), dim=1))
    model.save(tmp_path / "model.pt")
    again = models.load(tmp_path / "model.pt")
    assert np.array_equal(again.recommend([1, 2])[1], model.recommend([1, 2])[1])


def test_a_loss_without_negatives_is_none_of_it(graph):
    with pytest.raises(UserError, match="loss_n of ANS must be one of BPR, SSM, BSL in TopK mode, got 'DirectAU'"):
        models.ANS(graph, loss_n="DirectAU")
