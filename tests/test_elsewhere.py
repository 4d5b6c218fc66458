"""The stand-in for a GPU finds what a GPU would."""

from __future__ import annotations

import pytest
import torch

from tests.elsewhere import ELSEWHERE, Elsewhere, elsewhere


def test_computes_there_with_gradients_and_views():
    with elsewhere():
        x = torch.arange(6.0).to(ELSEWHERE).requires_grad_()
        assert (type(x), x.device.type) == (Elsewhere, ELSEWHERE.type)
        (x.view(2, 3)[1] ** 2).sum().backward()
        assert x.grad.tolist() == [0, 0, 0, 6, 8, 10]
        y = torch.zeros(2, 2, device=ELSEWHERE)
        y[:, 0] = 5
        assert y.cpu().tolist() == [[5, 0], [5, 0]]
        assert y.nonzero().shape == (2, 2)


def test_two_places_do_not_mix():
    with elsewhere():
        there = torch.ones(3, device=ELSEWHERE)
        assert (there * torch.tensor(2.0)).tolist() == [2, 2, 2]  # a scalar may come from anywhere
        with pytest.raises(RuntimeError, match="tensors lie on the CPU and on lazy"):
            there * torch.ones(3)
        with pytest.raises(RuntimeError, match="tensors lie on the CPU and on lazy"):
            there[torch.tensor([0])]
        with pytest.raises((RuntimeError, TypeError)):
            there.numpy()


def test_draws_other_numbers():
    torch.manual_seed(5)
    here = torch.rand(4)
    torch.manual_seed(5)
    with elsewhere():
        assert torch.rand(4, device=ELSEWHERE).tolist() != here.tolist()
        assert torch.equal(torch.rand(4), here)  # the CPU's own go on as if nothing had been drawn there


def test_tells_what_is_made_on_the_cpu():
    with elsewhere() as log:
        torch.ones(2, device=ELSEWHERE)
        assert not log.made_here
        torch.arange(3)
        torch.tensor([1])
        assert log.made_here == ["aten.arange.default", "aten.lift_fresh.default"]


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x.sum().item(),
        lambda x: x.cpu(),
        lambda x: x.nonzero(),
        lambda x: x.unique(),
        lambda x: x[x > 1],
        lambda x: x.masked_select(x > 1),
        lambda x: x.repeat_interleave(x),
        lambda x: bool((x > 1).any()),
    ],
)
def test_tells_what_waits_for_the_device(look):
    x = torch.tensor([0, 2, 2])
    with elsewhere() as log:
        look(x)
        assert not log.waits
        there = x.to(ELSEWHERE)
        there.sum() + there[there] + there.repeat_interleave(there, output_size=4).sum()
        assert not log.waits
        look(there)
        assert log.waits
