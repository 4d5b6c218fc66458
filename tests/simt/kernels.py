"""The CUDA operators as the SIMT harness runs them: torch CPU tensors in and out, like csrc/cuda/library.cu on a GPU.

Outputs and scratch start as NaN (numbers as -1), so that what a kernel leaves unwritten shows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from tests.simt.build import load_kernels

NO_ITEM = 2**63 - 1  # kNoItem of csrc/common/kernel.h


@cache
def library() -> ctypes.CDLL:
    return load_kernels()


@contextmanager
def in_order(order: int) -> Iterator[None]:
    """Threads and blocks run ascending (0), descending (1) or shuffled (2)."""
    library().set_order(order)
    try:
        yield
    finally:
        library().set_order(0)


def operators() -> object:
    """The operators of csrc/ops on the harness."""
    library()
    return torch.ops.ans_fast_simt


@contextmanager
def _seed_tensor(seed: int | Tensor) -> Iterator[Tensor]:
    """A number is handed to kernels by value, a tensor by its address."""
    by_address = isinstance(seed, Tensor)
    library().set_seeds_by_address(by_address)
    try:
        yield seed if by_address else torch.tensor([(seed + 2**63) % 2**64 - 2**63])
    finally:
        library().set_seeds_by_address(False)


def sample_negatives(
    indptr: Tensor,
    indices: Tensor,
    users: Tensor,
    n_users: int,
    n_items: int,
    n_negatives: int,
    seed: int | Tensor,
    first_item: int,
) -> Tensor:
    with _seed_tensor(seed) as at:
        return operators().sample_negatives(indptr, indices, users, n_users, n_items, n_negatives, at, first_item)


def ans_noise(seed: int | Tensor, n_rows: int, dim: int) -> Tensor:
    with _seed_tensor(seed) as at:
        return operators().ans_noise(at, n_rows, dim)


def distinct_ids(ids: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    return operators().distinct_ids(ids, n)


def hardest_negatives(
    user_rows: Tensor,
    item_hops: Tensor,
    candidates: Tensor,
    item_gate: Tensor | None = None,
    pos_gate: Tensor | None = None,
    rest: float | Tensor = 1.0,
) -> Tensor:
    """rest: a number is handed to the kernel by value, a tensor by its address."""
    number = torch.as_tensor(rest, dtype=torch.float64)
    with _seed_tensor(number if isinstance(rest, Tensor) else 0):
        rest = None if item_gate is None else number
        return operators().hardest_negatives(user_rows, item_hops, candidates, item_gate, pos_gate, rest)


def propagate(x: Tensor, *graph_and_layers: Any, nodes: Tensor | None = None) -> Tensor:
    return operators().propagate(x, *graph_and_layers, nodes)


def propagate_backward(grad: Tensor, *graph: Tensor, nodes: Tensor | None = None) -> Tensor:
    return operators().propagate_backward(grad, *graph, nodes)


def propagate_mean(
    x: Tensor,
    *graph_and_layers: Any,
    nodes: Tensor | None = None,
    short_hops: bool = False,
    transposed: bool = False,
) -> Tensor:
    return operators().propagate_mean(x, *graph_and_layers, nodes, short_hops, transposed)


def ans_terms_forward(
    inputs: tuple[Tensor | None, ...], eps: float, noise_scale: float, seed: int | Tensor, first_pair: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    with _seed_tensor(seed) as at:
        return operators().ans_terms_forward(*inputs, eps, noise_scale, at, first_pair)


def ans_terms_backward(
    grad_terms: Tensor,
    inputs: tuple[Tensor | None, ...],
    eps: float,
    noise_scale: float,
    seed: int | Tensor,
    selected: Tensor,
    saved: Tensor,
    deterministic: bool,
    first_pair: int = 0,
    grad_differences: Tensor | None = None,
) -> tuple[Tensor, ...]:
    with _seed_tensor(seed) as at:
        gradients = (grad_terms, grad_differences)
        where = (eps, noise_scale, at, first_pair)
        return operators().ans_terms_backward(*inputs, *where, *gradients, selected, saved, deterministic)
