"""Products of gathered rows."""

from __future__ import annotations

import pytest
import torch

from ans_fast.nn.gather import products, products_with_first


@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize("n_others", [0, 1, 2, 7])
def test_products_with_first(n, n_others):
    rows = torch.randn(n + n * n_others, 6, dtype=torch.float64, requires_grad=True)
    expected = products(rows[:n], rows[n:].view(n, n_others, 6))
    out = products_with_first(rows, n, n_others)
    torch.testing.assert_close(out, expected, rtol=0, atol=0)
    assert torch.autograd.gradcheck(lambda rows: products_with_first(rows, n, n_others), rows)


def test_gradient_with_a_spread_out_one():
    rows = torch.randn(8, 6, requires_grad=True)
    (grad,) = torch.autograd.grad(products_with_first(rows, 2, 3).sum(), rows)  # the gradient of a sum has no strides
    expected = torch.cat([rows[2:].view(2, 3, 6).sum(1), rows[:2].repeat_interleave(3, 0)])
    torch.testing.assert_close(grad, expected.detach())
