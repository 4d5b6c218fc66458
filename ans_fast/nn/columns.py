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

from ans_fast import ops
from ans_fast.distributed import Processes
from ans_fast.errors import UserError, reason
from ans_fast.nn.gather import is_free_to_read

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


class Seen:
    """The distinct nodes that each process looks at in a step: nodes int64 [R], one process's after the other's, counts
    of each.

    Args:
        looked_at: nodes int64 of each process, in any order, some repeatedly. n: how many there are in all.
        rank: of this process.
    """

    def __init__(self, looked_at: Sequence[Tensor], n: int, rank: int):
        # the batch's first, so that what a process's take is of the batch's size and not of the table's
        ids, self._place, _ = ops.distinct_ids(torch.cat(list(looked_at)), n)
        each = [ops.distinct_ids(self._place.index_select(0, nodes), len(ids)) for nodes in looked_at]
        self.counts: list[int] = torch.cat([some.count for some in each]).tolist()
        parts = [ids.index_select(0, some.ids[:count]) for some, count in zip(each, self.counts, strict=True)]
        self.nodes, self._own, self._place_of_own = torch.cat(parts), parts[rank], each[rank].place

    def at(self, nodes: Tensor) -> Tensor | None:
        """At which of its own each of a process's nodes int64 [n] is: int64 [n]; None if they are these."""
        if is_free_to_read(nodes) and torch.equal(nodes, self._own):
            return None
        return self._place_of_own.index_select(0, self._place.index_select(0, nodes))


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
        self._seen: Seen | None = None
        self._looked_at: list[tuple[Tensor, Tensor]] = []  # own columns, with their graph, and whole rows

    @property
    def width(self) -> int:
        """How many columns this process holds."""
        return self.widths[self.group.rank]

    def look_at(self, seen: Seen) -> None:
        """Says which nodes the processes look at until further notice."""
        self._seen = seen

    def rows(self, own: Callable[[Tensor], Tensor], nodes: Tensor) -> Tensor:
        """Whole rows. Their gradients stay with them until `return_gradients`.

        Args:
            own: gives this process's columns [R, …, d] of the rows of nodes int64 [R].
            nodes: int64 [n] of those that this process looks at, in any order, some repeatedly; every process
                calls for its own.

        Returns:
            [n, …, D].
        """
        seen, group, blocks = self._seen, self.group, own(self._seen.nodes)
        n_own, middle = seen.counts[group.rank], blocks.shape[1:-1]
        sent = [n * blocks[0].numel() for n in seen.counts]
        received = [n_own * middle.numel() * width for width in self.widths]
        pieces = group.exchange(blocks.detach().flatten(), sent, received)().split(received)
        whole = torch.cat([piece.view(n_own, *middle, -1) for piece in pieces], -1)
        if blocks.requires_grad:
            self._looked_at.append((blocks, whole.requires_grad_()))
        at = seen.at(nodes)
        return whole if at is None else whole.index_select(0, at)

    def return_gradients(self) -> Callable[[], None]:
        """Begins to send the gradients of `rows` back to who holds the columns; what is returned waits for this
        process's own, and takes them through what `own` did."""
        looked_at, self._looked_at = self._looked_at, []
        arriving = [self._return(blocks, whole.grad) for blocks, whole in looked_at]

        def finish() -> None:
            for (blocks, _), wait in zip(looked_at, arriving, strict=True):
                blocks.backward(wait().view(blocks.shape))

        return finish

    def _return(self, blocks: Tensor, grad: Tensor) -> Callable[[], Tensor]:
        pieces = grad.split(self.widths, -1)
        sizes = [piece.numel() for piece in pieces]
        sent = grad.new_empty(grad.numel())
        for part, piece in zip(sent.split(sizes), pieces, strict=True):
            part.view(piece.shape).copy_(piece)
        return self.group.exchange(sent, sizes, [n * blocks[0].numel() for n in self._seen.counts])

    def added_up(self, parts: Tensor) -> Tensor:
        """The sums of what every process computes of its columns of the same rows, with gradients: of a loss that each
        has of these sums."""
        return _AddedUp.apply(parts, self.group)

    def sums(self, partial: Callable[..., Tensor], *query: Tensor) -> Tensor:
        """Sums over all columns of partial(*query) [B, …], what this process's columns give; every process calls for a
        query of its own, tensors [B, …] of the same shapes, and has its answer."""
        parts = partial(*(self.group.gather(tensor) for tensor in query))
        size, each = self.group.size, parts.numel() // self.group.size
        received = self.group.exchange(parts.reshape(-1), [each] * size, [each] * size)()
        return received.view(size, len(query[0]), *parts.shape[1:]).sum(0)

    def normalize(self, part: Tensor) -> Tensor:
        """This process's columns [n, d] of rows, as F.normalize has them of whole rows; without gradients."""
        squares = part.detach().square().sum(1, keepdim=True)
        self.group.sum_(squares)()
        return part.detach() / squares.sqrt_().clamp_(min=1e-12)

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
            pieces = group.exchange(part.reshape(-1), sent, received)().split(received)
            if group.leads:
                columns = [piece.view(len(part), -1) for piece in pieces]
                whole[start : start + n_rows] = torch.cat(columns, 1).cpu()
                mapped.madvise(mmap.MADV_DONTNEED)  # what is in the file need not stay in this process's memory
        return whole


class _AddedUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parts: Tensor, group: Processes) -> Tensor:
        total = parts.clone()
        group.sum_(total)()
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def _mapped_file(size: int, folder: Path) -> mmap.mmap:
    """So many bytes in a file without a name. Raises UserError where the disk has no room for them: writing to memory
    without a place on disk would end the process."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)
            return mmap.mmap(file.fileno(), 0)
    except OSError as error:
        raise UserError(f"cannot write a file of {size:,} bytes to {folder}: {reason(error)}") from None
