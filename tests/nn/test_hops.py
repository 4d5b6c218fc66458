"""What a batch looks at is the same whether or not the host knows how many nodes these are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ans_fast.distributed import Processes
from ans_fast.nn import hops as nn_hops
from ans_fast.nn.columns import Seen, in_columns
from ans_fast.nn.encoders import ENCODERS
from ans_fast.nn.hops import distinct, hops_of
from ans_fast.nn.node_table import NodeTable
from tests.conftest import random_graph

USERS, ITEMS = torch.tensor([7, 2, 7, 7]), torch.tensor([[5, 1], [5, 5], [19, 0], [1, 5]])


class Alone(Processes):
    """A group of one."""

    rank, size = 0, 1


def scores_and_gradient(encoder: str, held: bool) -> tuple[Tensor, Tensor, int]:
    """Scores of the batch, the gradient of the table, and of how many nodes hops were made."""
    torch.manual_seed(3)
    graph = random_graph(30, 20, 100)
    if held:
        with in_columns(Alone()):
            table = NodeTable(graph, 4)
        table.columns.look_at(Seen([torch.cat([USERS, ITEMS.flatten() + 30])], graph.n_nodes, 0))
    else:
        table = NodeTable(graph, 4)
    table.normal(1.0)
    encode = ENCODERS[encoder](2, 4)
    hops = hops_of(table, lambda nodes: encode(table.weight, graph, nodes), graph, USERS, ITEMS[:, 0], ITEMS)
    scores = hops.scores(USERS, ITEMS)
    scores.square().sum().backward()
    if held:
        table.columns.return_gradients()()
    return scores.detach(), table.weight.grad, len(hops.both)


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("encoder", ["LightGCN", "BPRMF", "NGCF"])
def test_rows_that_fill_up_change_nothing(encoder: str, held: bool, monkeypatch: pytest.MonkeyPatch):
    scores, gradient, n_nodes = scores_and_gradient(encoder, held)
    assert n_nodes == 2 + 4
    monkeypatch.setattr(nn_hops, "is_free_to_read", lambda tensor: False)
    filled = scores_and_gradient(encoder, held)
    assert torch.equal(filled[0], scores)
    torch.testing.assert_close(filled[1], gradient)
    assert filled[2] == 4 + 12  # as many as the batch has ids


def test_distinct():
    nodes, place = distinct(torch.tensor([[7, 2], [2, 2], [8, 8]]), 9)
    assert nodes.tolist() == [2, 7, 8]
    assert place[nodes].tolist() == [0, 1, 2]
