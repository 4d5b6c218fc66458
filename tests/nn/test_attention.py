"""Attention over pairs of nodes against its formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ans_fast.nn.attention import EXPONENT, NodePairs, attend


def random_pairs(n_nodes: int, n_pairs: int, device: str = "cpu") -> NodePairs:
    torch.manual_seed(0)
    return NodePairs.both_ways(*torch.randint(n_nodes, (2, n_pairs), device=device), n_nodes)


def literal_attention(query: Tensor, key: Tensor, value: Tensor, pairs: NodePairs) -> Tensor:
    """Over the dense matrix of all products."""
    weights = (query @ key.t()).clamp(-EXPONENT, EXPONENT).exp() * pairs.matrix(
        torch.ones(len(pairs.indices), device=query.device)
    ).to_dense()
    return weights @ value / weights.sum(1, keepdim=True)


def test_pairs_go_both_ways_once():
    pairs = NodePairs.both_ways(torch.tensor([0, 0, 3, 3]), torch.tensor([2, 2, 0, 3]), 5)
    assert pairs.indptr.tolist() == [0, 3, 4, 6, 8, 9]
    assert pairs.indices.tolist() == [0, 2, 3, 1, 0, 2, 0, 3, 4]
    values = torch.arange(9.0)
    assert pairs.transposed(values).to_dense().equal(pairs.matrix(values).to_dense().t())


@pytest.mark.parametrize("scale", [1.0, 5.0])  # at 5 many products are clamped
@pytest.mark.parametrize(("n_nodes", "dim"), [(1, 1), (9, 3), (40, 8)])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_attention_and_its_gradients(n_nodes, dim, scale, device):
    pairs = random_pairs(n_nodes, 3 * n_nodes, device)
    inputs = scale * torch.randn(3, n_nodes, dim, dtype=torch.float64, device=device)
    inputs = [part.requires_grad_() for part in inputs.unbind()]
    found, expected = attend(*inputs, pairs), literal_attention(*inputs, pairs)
    torch.testing.assert_close(found, expected)
    grad = torch.randn_like(found)
    torch.testing.assert_close(
        torch.autograd.grad(found, inputs, grad), torch.autograd.grad(expected, inputs, grad), rtol=1e-6, atol=1e-9
    )


def test_attention_takes_columns_of_a_table():
    pairs, table = random_pairs(9, 20), torch.randn(9, 12)
    parts = table.split(4, 1)
    torch.testing.assert_close(attend(*parts, pairs), attend(*(part.contiguous() for part in parts), pairs))


def test_gradcheck_of_attention():
    pairs = random_pairs(6, 9)
    inputs = [torch.randn(6, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *tables: attend(*tables, pairs), inputs)
