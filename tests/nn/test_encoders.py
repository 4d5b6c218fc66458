"""ANS over its four bases."""

from __future__ import annotations

import pytest
import torch

from ans_fast.errors import UserError
from ans_fast.models import ANS
from ans_fast.nn.encoders import ENCODERS, without_some
from tests.conftest import random_graph


@pytest.fixture
def graph():
    return random_graph(40, 50, 300)


@pytest.mark.parametrize("base", ENCODERS)
def test_trains_saves_and_loads(graph, base, tmp_path):
    torch.manual_seed(0)
    model = ANS(graph, emb_size=8, n_layers=2, base_model=base)
    losses = model.fit(epochs=20, lr=0.02)
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.pt")
    again = ANS.load(tmp_path / "model.pt")
    assert again.base_model == base
    assert (again.recommend([1, 2])[0] == model.recommend([1, 2])[0]).all()


def test_ngcf_is_its_formula(graph):
    torch.manual_seed(0)
    base = ENCODERS["NGCF"](1, 4)
    table = torch.randn(graph.n_nodes, 4)
    degrees = graph.degrees.double()
    adjacency = torch.zeros(graph.n_nodes, graph.n_nodes, dtype=torch.float64)
    for node in range(graph.n_nodes):
        near = graph.indices[graph.indptr[node] : graph.indptr[node + 1]].long()
        adjacency[node, near] = 1 / (degrees[node] * degrees[near]).sqrt()
    near = (adjacency @ table.double()).float()
    layer = torch.nn.functional.leaky_relu(base.sums[0](table + near) + base.products[0](table * near), 0.2)
    expected = torch.stack([table, layer / layer.norm(dim=1, keepdim=True).clamp(min=1e-12)], 1)
    torch.testing.assert_close(base(table, graph), expected)


def test_sgl_draws_two_graphs_an_epoch(graph):
    base = ENCODERS["SGL"](2, 4)
    table, users, items = torch.randn(graph.n_nodes, 4), torch.tensor([1, 2, 2]), torch.tensor([3, 4, 5])
    first = base.own_loss(table, graph, users, items)
    views = base.views
    assert base.own_loss(table, graph, users, items) == first
    assert base.views is views
    assert views[0].n_edges < graph.n_edges
    base.begin_epoch()
    base.own_loss(table, graph, users, items)
    assert base.views is not views


def test_dropped_clicks_are_a_share(graph):
    torch.manual_seed(0)
    fewer = without_some(graph, 0.5)
    assert abs(fewer.n_edges / graph.n_edges - 0.5) < 0.15
    assert without_some(graph, 0.0).n_edges == graph.n_edges


def test_unknown_base(graph):
    with pytest.raises(UserError, match=r"base_model of \w+ must be one of"):
        ANS(graph, base_model="MF")
