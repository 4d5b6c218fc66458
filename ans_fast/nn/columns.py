"""Node tables that several processes hold together: each some columns of all rows.

What acts on every column alone, as propagation does, needs nothing of the others. A batch's few rows are made whole by
one exchange, and their gradients go back to the columns by another.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ans_fast.distributed import Processes
from ans_fast.errors import UserError, reason

AT_ONCE = 1 << 18  # values of a table that are gathered at once: more would raise what the heap keeps
_group: ContextVar[Processes | None] = ContextVar("group", default=None)


@contextmanager
def in_columns(group: Processes) -> Iterator[None]:
    """Node tables that are made in the block are held by the group together."""
    token = _group.set(group)
    try:
        yield
    finally:
        _group.reset(token)


def columns_of(dim: int) -> Columns | None:
    """How a table of `dim` columns made now is held; None: by this process alone."""
    group = _group.get()
    return None if group is None else Columns(group, dim)


class Columns:
    """The columns of a table of D that this process holds; all blocks are of one size, to one column.

    Args: group: who holds them. dim: D.
    Attributes: own: this process's columns. widths: of every process's block.
    Raises: UserError: there are fewer columns than processes.
    """

    def __init__(self, group: Processes, dim: int):
        if dim < group.size:
            raise UserError(f"emb_size must be at least the number of processes, {group.size}, got {dim}")
        bounds = group.bounds(dim)
        self.group, self.dim = group, dim
        self.own = slice(*bounds[group.rank : group.rank + 2])
        self.widths = [end - begin for begin, end in pairwise(bounds)]
        self._nodes: list[Tensor] = []

    @property
    def width(self) -> int:
        """How many columns this process holds."""
        return self.widths[self.group.rank]

    def look_at(self, nodes: Sequence[Tensor]) -> None:
        """Says which nodes each process looks at until further notice: int64, ascending, distinct."""
        self._nodes = list(nodes)

    def rows(self, own: Callable[[Tensor], Tensor], nodes: Tensor) -> Tensor:
        """Whole rows, with gradients.

        Args:
            own: gives this process's columns [R, …, d] of the rows of nodes int64 [R].
            nodes: int64 [n] of those that this process looks at, in any order, some repeatedly; every process
                calls for its own.

        Returns:
            [n, …, D].
        """
        whole = _Whole.apply(own(torch.cat(self._nodes)), self, [len(some) for some in self._nodes])
        return whole.index_select(0, torch.searchsorted(self._nodes[self.group.rank], nodes))

    def sums(self, partial: Callable[..., Tensor], *query: Tensor) -> Tensor:
        """Sums over all columns of partial(*query) [B, …], what this process's columns give; every process calls for a
        query of its own, tensors [B, …] of the same shapes, and has its answer."""
        parts = partial(*(self.group.gather(tensor) for tensor in query))
        size, each = self.group.size, parts.numel() // self.group.size
        received = self.group.exchange(parts.reshape(-1), [each] * size, [each] * size)
        return received.view(size, len(query[0]), *parts.shape[1:]).sum(0)

    def part_of(self, whole: Tensor) -> Tensor:
        """This process's columns of a table [n, D]: [n, d], which lets go of the rest."""
        return whole[:, self.own].clone()

    def gather(self, block: Tensor, folder: Path) -> Tensor:
        """The whole table [n, D] on the leader's CPU, of which `block` [n, d] is every process's part; elsewhere an
        empty one. It lies in a file of `folder` without a name, so that no memory has to hold it. Raises UserError
        where the disk has no room for it."""
        group, whole = self.group, torch.empty(0, self.dim, dtype=block.dtype)
        if group.leads:
            mapped = _mapped_file(len(block) * self.dim * block.element_size(), folder)
            whole = torch.frombuffer(mapped, dtype=block.dtype).view(-1, self.dim)
        n_rows = max(1, AT_ONCE // self.dim)
        for start in range(0, len(block), n_rows):
            part = block[start : start + n_rows]
            sent = [part.numel(), *[0] * (group.size - 1)]
            received = [len(part) * width if group.leads else 0 for width in self.widths]
            pieces = group.exchange(part.reshape(-1), sent, received).split(received)
            if group.leads:
                columns = [piece.view(len(part), -1) for piece in pieces]
                whole[start : start + n_rows] = torch.cat(columns, 1).cpu()
                mapped.madvise(mmap.MADV_DONTNEED)  # what is in the file need not stay in this process's memory
        return whole


def _mapped_file(size: int, folder: Path) -> mmap.mmap:
    """So many bytes in a file without a name. Raises UserError where the disk has no room for them: writing to memory
    without a place on disk would end the process."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)
            return mmap.mmap(file.fileno(), 0)
    except OSError as error:
        raise UserError(f"cannot write a file of {size:,} bytes to {folder}: {reason(error)}") from None


class _Whole(torch.autograd.Function):
    """From blocks of columns of the rows that every process looks at to whole rows of one's own; gradients go back."""

    @staticmethod
    def forward(ctx: Any, blocks: Tensor, columns: Columns, counts: list[int]) -> Tensor:
        """blocks [Σ counts, …, d] -> [counts[rank], …, D]."""
        ctx.columns, ctx.counts, ctx.shape = columns, counts, blocks.shape
        n_own, middle = counts[columns.group.rank], blocks.shape[1:-1]
        each = middle.numel()
        sent = [n * each * columns.width for n in counts]
        received = [n_own * each * width for width in columns.widths]
        pieces = columns.group.exchange(blocks.reshape(-1), sent, received).split(received)
        return torch.cat([piece.view(n_own, *middle, -1) for piece in pieces], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        columns, counts = ctx.columns, ctx.counts
        pieces = [piece.reshape(-1) for piece in grad.split(columns.widths, -1)]
        each = ctx.shape[1:-1].numel() * columns.width
        received = columns.group.exchange(torch.cat(pieces), [len(p) for p in pieces], [n * each for n in counts])
        return received.view(ctx.shape), None, None
