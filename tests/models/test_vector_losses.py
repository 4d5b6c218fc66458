"""SSM and DirectAU: training with them, and the rest of a model that is trained so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ans_fast
from ans_fast import UserError, models, ops
from ans_fast.training.batches import Rows


@pytest.fixture
def graph() -> ans_fast.BipartiteGraph:
    """40 users and 30 items in five groups that keep to themselves."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(40), 4)
    return ans_fast.BipartiteGraph(users, users % 5 + 5 * rng.integers(0, 6, len(users)), 40, 30)


@pytest.mark.parametrize("loss_n", ["SSM", "DirectAU"])
@pytest.mark.parametrize("name", ["BPRMF", "LightGCN"])
def test_fit_learns_and_ranks_by_cosines(graph, tmp_path, name, loss_n):
    torch.manual_seed(0)
    model = models.by_name(name)(graph, emb_size=16, loss_n=loss_n, temperature=0.2)
    losses = model.fit(epochs=40, batch_size=32, lr=0.02)
    assert losses[-1] < losses[0]
    everyone, scores = model.recommend(np.arange(40), k=1)
    assert (everyone[:, 0] % 5 == np.arange(40) % 5).mean() > 0.8
    assert (np.abs(scores) <= 1 + 1e-6).all()
    model.save(tmp_path / "model.pt")
    loaded = models.load(tmp_path / "model.pt")
    assert (loaded.loss_n, loaded.temperature) == (loss_n, 0.2)
    assert np.array_equal(loaded.recommend(np.arange(40), k=1)[1], scores)


@pytest.mark.parametrize("loss_n", ["SSM", "DirectAU"])
def test_the_kernels_loss_is_the_references(graph, loss_n):
    torch.manual_seed(0)
    model = models.LightGCN(graph, emb_size=16, loss_n=loss_n)
    batch = Rows(torch.arange(20), torch.arange(20) % 7)
    seen = []
    for backend in ("fused", "reference"):
        with ops.backend(backend):
            model.zero_grad()
            loss, _ = model.loss(model.draw(batch, ()), ())
            loss.backward()
            seen.append((loss.detach(), model.table.weight.grad.clone()))
    torch.testing.assert_close(*seen, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(loss_n="SSM", negative_sampling="DNS"), "negative_sampling DNS has no meaning with loss_n SSM"),
        (dict(loss_n="SSM", mode="CTR"), "loss_n must be one of BCE, MSE in CTR mode, got 'SSM'"),
        (dict(loss_n="nonsense"), "loss_n must be one of BPR, SSM, DirectAU in TopK mode, got 'nonsense'"),
        (dict(loss_n="SSM", temperature=0), "temperature must be a number from 0.001 to 1000, got 0"),
    ],
)
def test_mistakes(graph, options, message):
    with pytest.raises(UserError, match=message):
        models.LightGCN(graph, **options)


def test_other_models_have_bpr_alone(graph):
    with pytest.raises(UserError, match="loss_n must be one of BPR in TopK mode, got 'SSM'"):
        models.ANS(graph, loss_n="SSM")
