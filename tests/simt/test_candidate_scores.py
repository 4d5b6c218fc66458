"""candidate_scores.cu on the CPU: what the operators' cases leave out."""

from __future__ import annotations

import pytest
import torch

from tests.ops.test_candidate_scores import case
from tests.simt import kernels


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("dim", [7, 64, 300])
def test_ids_out_of_range_are_nan_and_get_no_gradient(dim, deterministic):
    inputs = case(4, 5, dim, dtype=torch.float32)
    ids, sound = inputs["candidates"], torch.ones(4, 5, dtype=torch.bool)
    for at, wrong in (((0, 0), -1), ((1, 4), 11), ((3, 2), 2**40)):
        ids[at], sound[at] = wrong, False
    scores = kernels.operators().candidate_scores(*inputs.values())
    assert torch.equal(scores.isnan(), ~sound)
    grad = torch.ones(4, 5)
    got = kernels.operators().candidate_scores_backward(grad, *inputs.values(), deterministic)
    inputs["candidates"] = ids.where(sound, 0)
    want = kernels.operators().candidate_scores_backward(grad * sound, *inputs.values(), deterministic)
    for mine, expected in zip(got, want, strict=True):
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize("deterministic", [False, True])
def test_nothing_to_add_up(deterministic):
    for shape in ((0, 3, 4), (3, 0, 4), (3, 4, 0)):
        inputs = case(*shape, dtype=torch.float32)
        scores = kernels.operators().candidate_scores(*inputs.values())
        assert not scores.any()
        gradients = kernels.operators().candidate_scores_backward(scores, *inputs.values(), deterministic)
        assert not any(gradient.any() for gradient in gradients)


def test_one_order_gives_one_sum():
    """Whatever order threads and blocks come in."""
    inputs = case(40, 70, 33, dtype=torch.float32)
    grad = torch.linspace(-1, 2, 40 * 70).view(40, 70)
    seen = []
    for order in (0, 1, 2):
        with kernels.in_order(order):
            seen.append(kernels.operators().candidate_scores_backward(grad, *inputs.values(), True))
    for other in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], other, strict=True))
