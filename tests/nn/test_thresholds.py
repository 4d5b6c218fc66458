"""When thresholds are found, and what they are."""

from __future__ import annotations

import pytest
import torch

from ans_fast.nn import thresholds as module
from ans_fast.nn.thresholds import Thresholds


@pytest.mark.parametrize("at_once", [1, 100, 1 << 22])
@pytest.mark.parametrize("k", [1, 3, 20])
def test_the_kth_best_of_all_items_every_few_epochs(monkeypatch, k, at_once):
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    torch.manual_seed(0)
    users, items = torch.randn(9, 4), torch.randn(11, 4)
    thresholds, looks = Thresholds(9, k, 2), 0

    def vectors():
        nonlocal looks
        looks += 1
        return users, items

    for epoch in range(5):
        thresholds.begin_epoch(vectors)
        assert looks == epoch // 2
        assert thresholds.values.any() == (epoch >= 2)
    scores = (users @ items.t()).sort(1, descending=True).values
    torch.testing.assert_close(thresholds.values, scores[:, min(k, 11) - 1])


def test_epochs_go_on_where_they_were():
    one, two = Thresholds(3, 1, 2), Thresholds(3, 1, 2)
    one.begin_epoch(None)
    one.begin_epoch(None)
    two.load_state_dict(one.state_dict())
    two.begin_epoch(lambda: (torch.ones(3, 1), torch.ones(2, 1)))
    assert two.values.tolist() == [1, 1, 1]
