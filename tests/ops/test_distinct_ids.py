"""Which ids occur, on the CPU, against the reference and against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ans_fast import ops, reference


@pytest.mark.parametrize(("n", "n_ids"), [(0, 0), (1, 0), (1, 1), (1, 9), (257, 3), (300, 4000), (5000, 700)])
def test_ids_places_and_their_number(n, n_ids):
    ids = torch.randint(max(n, 1), (n_ids,), generator=torch.Generator().manual_seed(n))
    found = ops.distinct_ids(ids, n)
    expected = np.unique(ids.numpy())
    count = int(found.count)
    assert found.ids[:count].tolist() == expected.tolist()
    assert (found.ids[count:] == found.ids[:1]).all()
    assert found.place[ids].tolist() == np.searchsorted(expected, ids.numpy()).tolist()
    for got, want in zip(found, reference.distinct_ids(ids, n), strict=True):
        assert torch.equal(got, want)
    with ops.backend("reference"):
        assert all(map(torch.equal, ops.distinct_ids(ids, n), found))


def test_ids_that_are_spread_out_in_memory():
    ids = torch.tensor([[4, 9], [2, 9], [4, 9]])[:, 0]
    assert ops.distinct_ids(ids, 5).ids.tolist() == [2, 4, 2]


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("wrong", [-1, 5, 2**62])
def test_ids_out_of_range(backend, wrong):
    with ops.backend(backend), pytest.raises(ValueError, match=rf"ids must be in \[0, 5\), got {wrong}"):
        ops.distinct_ids(torch.tensor([1, wrong]), 5)


def test_other_bad_arguments():
    with pytest.raises(ValueError, match=r"ids must be \[R\]"):
        ops.distinct_ids(torch.zeros(2, 2, dtype=torch.int64), 5)
    with pytest.raises(TypeError, match="ids must be"):
        ops.distinct_ids(torch.zeros(2), 5)
    with pytest.raises(ValueError, match="n must be at least 0, got -1"):
        ops.distinct_ids(torch.zeros(0, dtype=torch.int64), -1)
    with pytest.raises(ValueError, match=r"n must be in \[0, 2147483647\], got 2147483648"):
        ops.distinct_ids(torch.zeros(0, dtype=torch.int64), 2**31)


def test_opcheck():
    torch.library.opcheck(torch.ops.ans_fast.distinct_ids.default, (torch.tensor([3, 1, 3]), 7))
