"""Tables that are held in columns; see tests/distributed for what processes exchange."""

from __future__ import annotations

import errno
import os

import pytest
import torch

from ans_fast.distributed import Processes
from ans_fast.errors import UserError
from ans_fast.nn.columns import Columns, Seen, in_columns
from ans_fast.nn.node_table import AT_ONCE, NodeTable
from tests.conftest import random_graph


class Pretended(Processes):
    """A process that is told which of how many it is."""

    def __init__(self, rank: int, size: int):
        self.rank, self.size = rank, size


def filled(graph, dim, how, group=None):
    torch.manual_seed(5)
    if group is None:
        table = NodeTable(graph, dim)
    else:
        with in_columns(group):
            table = NodeTable(graph, dim)
    table.normal(0.3) if how == "normal" else table.xavier_uniform()
    return table.weight.detach(), torch.rand(1)


@pytest.mark.parametrize("how", ["normal", "xavier_uniform"])
@pytest.mark.parametrize(("n_users", "n_items"), [(3, 1), (20, 7), (2 * AT_ONCE + 3, AT_ONCE + 1)])
def test_values_are_those_of_a_whole_table(how, n_users, n_items):
    """Block by block, and torch's generator goes on from the same place."""
    graph = random_graph(n_users + 1, n_items + 1, 10)
    whole, after = filled(graph, 7, how)
    blocks = [filled(graph, 7, how, Pretended(rank, 3)) for rank in range(3)]
    assert [block.shape[1] for block, _ in blocks] == [2, 2, 3]
    assert torch.equal(torch.cat([block for block, _ in blocks], 1), whole)
    assert all(torch.equal(other, after) for _, other in blocks)


def test_xavier_uniform_is_torchs():
    graph = random_graph(30, 20, 50)
    ours, _ = filled(graph, 8, "xavier_uniform")
    torch.manual_seed(5)
    theirs = torch.empty(50, 8)
    for part in theirs.split([30, 20]):
        torch.nn.init.xavier_uniform_(part)
    assert torch.equal(ours, theirs)


def test_a_table_for_which_the_disk_has_no_room(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(UserError, match=r"cannot write a file of 160 bytes to .*: no space left on device"):
        Columns(Pretended(0, 1), 8).gather(torch.zeros(5, 8), tmp_path)
    monkeypatch.undo()
    assert torch.equal(Columns(Pretended(0, 1), 8).gather(torch.ones(5, 8), tmp_path), torch.ones(5, 8))
    assert not list(tmp_path.iterdir())


def test_fewer_columns_than_processes():
    with (
        in_columns(Pretended(0, 4)),
        pytest.raises(UserError, match="emb_size must be at least the number of processes, 4, got 3"),
    ):
        NodeTable(random_graph(5, 5, 5), 3)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_distinct_nodes_of_each_process(rank):
    """Some of which others look at too."""
    torch.manual_seed(rank)
    looked_at = [torch.randint(low, low + 30, (size,)).repeat(2) for low, size in ((0, 40), (20, 3), (10, 90))]
    seen = Seen(looked_at, 50, rank)
    each = [nodes.unique() for nodes in looked_at]
    assert seen.counts == [len(nodes) for nodes in each]
    assert torch.equal(seen.nodes, torch.cat(each))
    assert torch.equal(each[rank][seen.at(looked_at[rank])], looked_at[rank])
    assert seen.at(each[rank]) is None
