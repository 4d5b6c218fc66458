"""The mean of log-sums against its formula."""

from __future__ import annotations

import torch

from ans_fast.nn.log_sums import mean_log_sum


def test_mean_log_sum_and_its_gradients():
    torch.manual_seed(0)
    x, y = (torch.randn(n, 4, dtype=torch.float64, requires_grad=True) for n in (7, 13))
    counts = torch.tensor([1, 2, 1, 4, 1, 1, 3])
    for found, rows in ((mean_log_sum(x, y), x), (mean_log_sum(x, y, counts), x.repeat_interleave(counts, 0))):
        expected = (rows @ y.t()).logsumexp(1).mean()
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(torch.autograd.grad(found, [x, y]), torch.autograd.grad(expected, [x, y]))


def test_mean_log_sum_of_large_products_is_finite():
    x, y = torch.full((2, 1), 100.0, requires_grad=True), torch.tensor([[10.0], [-10.0]])
    found = mean_log_sum(x, y)
    assert found == 1000
    assert torch.autograd.grad(found, x)[0].flatten().tolist() == [5.0, 5.0]


def test_gradcheck_of_mean_log_sum():
    x, y = (torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (4, 5))
    assert torch.autograd.gradcheck(mean_log_sum, (x, y))
