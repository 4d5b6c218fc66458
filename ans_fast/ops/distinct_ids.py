"""The ids that occur."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ans_fast.ops._library import register_fake
from ans_fast.ops._operator import Operator


class DistinctIds(NamedTuple):
    """ids int64 [min(R, n)]: those that occur, ascending, then the first of them again. place int64 [n]: where each id
    is among them, −1 for one that does not occur. count int64 [1]: how many occur."""

    ids: Tensor
    place: Tensor
    count: Tensor


_OPERATOR = Operator("distinct_ids", "ids: int64[R] < n", "n: size")


def distinct_ids(ids: Tensor, n: int) -> DistinctIds:
    """Which of n ids occur. Shapes do not depend on values, so that a GPU is not waited for.

    Args:
        ids: int64 [R], in [0, n); on a GPU others are left out.
        n: how many ids there are, below 2^31.

    Raises:
        ValueError, TypeError: an argument's shape, dtype or range is wrong.
        RuntimeError: ids are on a GPU and the CUDA kernels are not built.
    """
    return DistinctIds(*_OPERATOR(ids, n))


@register_fake("distinct_ids")
def _(ids: Tensor, n: int) -> tuple[Tensor, ...]:
    return ids.new_empty(torch.sym_min(len(ids), n)), ids.new_empty(n), ids.new_empty(1)
