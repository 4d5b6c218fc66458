"""The CUDA operators as the SIMT harness runs them: torch CPU tensors in and out, like csrc/cuda/library.cu on a GPU.

Outputs and scratch start as NaN (ids as a large number), so that what a kernel leaves unwritten shows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_float, c_int64, c_void_p
from functools import cache

import torch
from torch import Tensor

from tests.simt.build import load_kernels

NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
UNWRITTEN = 2**62
NO_ITEM = 2**63 - 1  # kNoItem of csrc/common/kernel.h


class KernelFailure(Exception):
    """The harness found the kernel doing what hardware leaves undefined."""


def _fields(pointers: str, numbers: str = "") -> list[tuple[str, type]]:
    return [(name, c_void_p) for name in pointers.split()] + [(name, c_int64) for name in numbers.split()]


class PropagateArgs(ctypes.Structure):
    _fields_ = (
        *_fields("indptr indices scale", "n_nodes n_indices dim n_layers"),
        *_fields("x", "x_row"),
        *_fields("add", "add_row add_hop"),
        *_fields("out", "out_row out_hop"),
        ("factor", c_float),
        *_fields("scratch partials"),
    )


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


def run(name: str, args: ctypes.Structure) -> None:
    if getattr(library(), name)(ctypes.byref(args)):
        raise KernelFailure(library().last_failure().decode())


def unwritten(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.full(shape, torch.nan if dtype.is_floating_point else UNWRITTEN, dtype=dtype)


def _address(tensor: Tensor | None) -> int | None:
    assert tensor is None or tensor.is_contiguous()
    return None if tensor is None else tensor.data_ptr()


def _partials(n_nodes: int, n_indices: int, dim: int) -> Tensor:
    return unwritten(2, library().count_chunks(c_int64(n_nodes), c_int64(n_indices)), dim)


def propagate(x: Tensor, indptr: Tensor, indices: Tensor, scale: Tensor, n_layers: int) -> Tensor:
    n, dim = x.shape
    out = unwritten(n, n_layers + 1, dim, dtype=x.dtype)
    out[:, 0] = x
    partials = _partials(n, len(indices), dim)
    row = (n_layers + 1) * dim
    graph = (_address(indptr), _address(indices), _address(scale), n, len(indices))
    args = PropagateArgs(*graph, dim, n_layers, _address(x), dim, None, 0, 0, _address(out), row, dim, 1)
    args.partials = _address(partials)
    run(f"propagate_{NAMES[x.dtype]}", args)
    return out


def propagate_backward(grad: Tensor, indptr: Tensor, indices: Tensor, scale: Tensor) -> Tensor:
    n, hops, dim = grad.shape
    out, row, width = unwritten(n, dim, dtype=grad.dtype), hops * dim, grad.element_size() * dim
    if hops == 1:
        return grad[:, 0].clone()
    scratch = unwritten(2, n, dim, dtype=grad.dtype)
    partials = _partials(n, len(indices), dim)
    last = grad.data_ptr() + (hops - 1) * width
    graph = (_address(indptr), _address(indices), _address(scale), n, len(indices))
    args = PropagateArgs(*graph, dim, hops - 1, last, row, last, row, -dim, _address(out), dim, 0, 1)
    args.scratch, args.partials = _address(scratch), _address(partials)
    run(f"propagate_{NAMES[grad.dtype]}", args)
    return out


def propagate_mean(x: Tensor, indptr: Tensor, indices: Tensor, scale: Tensor, n_layers: int) -> Tensor:
    n, dim = x.shape
    out, scratch = unwritten(n, dim, dtype=x.dtype), unwritten(2, n, dim, dtype=x.dtype)
    partials = _partials(n, len(indices), dim)
    graph = (_address(indptr), _address(indices), _address(scale), n, len(indices))
    rows = _address(x)
    args = PropagateArgs(*graph, dim, n_layers, rows, dim, rows, dim, 0, _address(out), dim, 0, 1 / (n_layers + 1))
    args.scratch, args.partials = _address(scratch), _address(partials)
    run(f"propagate_{NAMES[x.dtype]}", args)
    return out


def operators() -> object:
    """The operators of csrc/ops on the harness."""
    library()
    return torch.ops.ans_fast_simt


@contextmanager
def _seed_tensor(seed: int | Tensor) -> Iterator[Tensor]:
    """A number is handed to kernels by value, a tensor by its address."""
    by_address = isinstance(seed, Tensor)
    library().set_seeds_by_address(by_address)
    yield seed if by_address else torch.tensor([(seed + 2**63) % 2**64 - 2**63])
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


def hardest_negatives(
    user_rows: Tensor,
    item_hops: Tensor,
    candidates: Tensor,
    item_gate: Tensor | None = None,
    pos_gate: Tensor | None = None,
    rest: float = 1.0,
) -> Tensor:
    return operators().hardest_negatives(user_rows, item_hops, candidates, item_gate, pos_gate, rest)


def ans_terms_forward(
    inputs: tuple[Tensor | None, ...], eps: float, noise_scale: float, seed: int | Tensor, first_pair: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
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
) -> tuple[Tensor, ...]:
    with _seed_tensor(seed) as at:
        where = (eps, noise_scale, at, first_pair)
        return operators().ans_terms_backward(*inputs, *where, grad_terms, selected, saved, deterministic)
