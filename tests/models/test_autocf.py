"""AutoCF: its masks, its attention, and that it learns."""

from __future__ import annotations

import pytest
import torch

from ans_fast import BipartiteGraph
from ans_fast.errors import UserError
from ans_fast.models import AutoCF
from ans_fast.ops._seed import draw_seeds
from tests.conftest import random_graph


def test_ranks_items_of_the_users_own_group():
    """Users click in one of two groups of items; left-out clicks of the same group should rank above the other's."""
    torch.manual_seed(0)
    users = torch.arange(60).repeat_interleave(20)
    items = torch.arange(20).repeat(60) + 20 * (users % 2)
    kept = torch.rand(len(users)) < 0.6
    model = AutoCF(BipartiteGraph(users[kept], items[kept], 60, 40), emb_size=8, n_heads=2, n_seeds=5)
    losses = model.fit(epochs=30, lr=0.01, batch_size=256)
    assert losses[-1] < losses[0]
    found, scores = model.recommend(torch.arange(60), k=3)
    real = scores > -float("inf")
    assert ((found // 20 == (torch.arange(60) % 2).numpy()[:, None]) | ~real).mean() > 0.9


def test_clicks_around_centres_are_hidden():
    torch.manual_seed(0)
    graph = random_graph(40, 50, 150)
    model = AutoCF(graph, keep_rate=0.0, mask_depth=1)
    centres, seeds = torch.tensor([3, 45]), draw_seeds(2)
    masked = model._mask(centres, seeds)
    assert masked.graph.n_edges == graph.n_edges - int(graph.degrees[centres].sum()) + int(
        (graph.indices[graph.indptr[3] : graph.indptr[4]] == 45).sum()
    )
    assert masked.graph.degrees[centres].sum() == 0
    assert AutoCF(graph, mask_depth=2)._mask(centres, seeds).graph.n_edges < masked.graph.n_edges


def test_attention_is_its_formula():
    torch.manual_seed(0)
    graph = random_graph(6, 7, 15)
    model = AutoCF(graph, emb_size=4, n_heads=2)
    pairs, x = model._mask(torch.tensor([2]), draw_seeds(2)).pairs, torch.randn(13, 4)
    query, key, value = (x @ matrix for matrix in model.attention[0])
    expected = torch.zeros(13, 4)
    for node in range(13):
        others = pairs.indices[pairs.indptr[node] : pairs.indptr[node + 1]]
        for head in (slice(0, 2), slice(2, 4)):
            shares = (key[others, head] @ query[node, head]).softmax(0)
            expected[node, head] = shares @ value[others, head]
    torch.testing.assert_close(model._attend(x, model.attention[0], pairs), expected)


def test_heads_must_divide():
    with pytest.raises(UserError, match="n_heads of AutoCF must divide"):
        AutoCF(random_graph(5, 5, 9), emb_size=6, n_heads=4)
