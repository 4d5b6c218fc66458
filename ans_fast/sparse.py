"""Sparse matrices of torch, without its warnings."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

# torch says once a process that CSR tensors are new and, in 2.11 and 2.12 even where check_invariants is given, that no
# invariants are checked: here nobody hears it.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0], [], [], (0, 0))


def by_rows(indptr: Tensor, indices: Tensor, values: Tensor, n_columns: int) -> Tensor:
    """The matrix [B, n_columns] (CSR) whose row i has values [P] indptr[i] … indptr[i + 1], at columns indices [P]."""
    shape = (len(indptr) - 1, n_columns)
    return torch.sparse_csr_tensor(indptr, indices, values, shape, check_invariants=False)


def by_pairs(rows: Tensor, columns: Tensor, values: Tensor, size: int) -> Tensor:
    """The matrix [size, size] of values [P] at rows and columns int64 [P], ascending by row, then by column (COO)."""
    places = torch.stack([rows, columns])
    return torch.sparse_coo_tensor(places, values, (size, size), is_coalesced=True, check_invariants=False)


def products_at(indptr: Tensor, indices: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """The inner products [P] of rows of one [B, K] and other [n, K], at the places of `by_rows`; without gradients and
    without copies of the rows."""
    places = by_rows(indptr, indices, one.new_zeros(len(indices)), len(other))
    return torch.sparse.sampled_addmm(places, one, other.t(), beta=0.0).values()
