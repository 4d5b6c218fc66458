"""top_k_bpr.cu on the CPU: what the operators' cases leave out."""

from __future__ import annotations

import torch

from tests.ops.cases import bpr_case
from tests.simt import kernels


def test_nothing_has_no_mean():
    scores = torch.ones(0, 3)
    assert kernels.operators().top_k_bpr(scores).isnan()
    assert kernels.operators().top_k_bpr_backward(torch.tensor(1.0), scores).shape == (0, 3)


def test_one_order_gives_one_sum():
    """Whatever order threads and blocks come in, of more pairs than they are."""
    scores = bpr_case(20_000, 2).inputs["scores"].float()
    seen = []
    for order in (0, 1, 2):
        with kernels.in_order(order):
            seen.append(kernels.operators().top_k_bpr(scores))
    assert seen[0] == seen[1] == seen[2]
