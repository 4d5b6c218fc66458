"""The reference as PyTorch's users would run it: with torch's own random numbers, as it is or compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor

from ans_fast import reference
from ans_fast.nn.gather import products, rows_at

COMPILER = "inductor"  # the quick mode takes one that traces only


def _random_words(seed: Tensor, rows: Tensor, n_words: int, stream: int) -> Tensor:
    return torch.randint(2**32, (len(rows), n_words), device=rows.device)


def _random_floats(seed: Tensor, n_rows: int, dim: int, first_row: int) -> Tensor:
    return torch.rand(n_rows, dim, device=seed.device)


@contextmanager
def torch_random() -> Iterator[None]:
    """Within the block the reference draws with torch.rand and torch.randint, which cost far less than its Philox in
    PyTorch: comparing with the latter would flatter the kernels."""
    with mock.patch.multiple(reference, philox=_random_words, ans_noise=_random_floats):
        yield


def gathered_scores(user_rows: Tensor, item_rows: Tensor, candidates: Tensor) -> Tensor:
    """candidate_scores by a gather whose gradient is one index_add, several times as fast as the reference's."""
    return products(user_rows, rows_at(item_rows, candidates))


def compiled(function: Callable, dynamic: bool = False) -> Callable:
    """torch.compile, for the very shapes it is called with, or for any if they vary; what was compiled before is
    dropped."""
    torch.compiler.reset()
    return torch.compile(function, dynamic=dynamic, backend=COMPILER)
