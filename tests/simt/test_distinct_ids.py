"""distinct_ids.cu on the CPU, against the reference."""

from __future__ import annotations

import pytest
import torch

from ans_fast import reference
from tests.simt import kernels

SIZES = [1, 2, 31, 32, 33, 255, 256, 257, 1000, 5000]


def ids_of(n: int) -> dict[str, list[int]]:
    return {
        "none": [],
        "one": [n // 2],
        "both ends": [n - 1, 0, n - 1],
        "all the same": [n - 1] * 700,
        "all": list(range(n))[::-1],
        "many": torch.randint(n, (n // 2 + 3,), generator=torch.Generator().manual_seed(n)).tolist(),
    }


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("n", SIZES)
def test_distinct(n, order):
    for ids in ids_of(n).values():
        ids = torch.tensor(ids, dtype=torch.int64)
        with kernels.in_order(order):
            got = kernels.distinct_ids(ids, n)
        for one, other in zip(got, reference.distinct_ids(ids, n), strict=True):
            assert torch.equal(one, other)


def test_distinct_of_no_ids_at_all():
    ids, place, count = kernels.distinct_ids(torch.zeros(0, dtype=torch.int64), 0)
    assert (len(ids), len(place), count.tolist()) == (0, 0, [0])


@pytest.mark.parametrize("wrong", [-1, 300, 2**62, -(2**63)])
def test_distinct_leaves_out_what_is_out_of_range(wrong):
    ids, place, count = kernels.distinct_ids(torch.tensor([wrong, 299, 7, wrong]), 300)
    assert (ids.tolist(), count.tolist()) == ([7, 299, 7, 7], [2])
    assert place.nonzero()[:, 0].numel() == 299  # of 300, id 7 alone is at place 0
    assert kernels.distinct_ids(torch.tensor([wrong]), 300)[0].tolist() == [0]
