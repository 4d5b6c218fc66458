"""Rows to train on or to score: tensors that are cut and shuffled together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ans_fast.distributed import ALONE, Processes

if TYPE_CHECKING:
    from ans_fast.data import ImpressionLists, Labelled, TopKSplit


@dataclass(frozen=True, eq=False)
class Rows:
    """R rows of one split or batch; the fields that a mode lacks are None.

    users int64 [R]; items int64 [R] (TopK: the clicked item; CTR: the shown one) or [R, W] (Impression: n_pos clicked
    items, then n_neg others, then padding); neg_items int64 [R, C]; labels float32 [R]; n_pos, n_neg int64 [R].
    context: what a model adds for itself (`Recommender.context`), each entry [R, …].
    part: which rows of a batch these are, where several processes share it; rows made of these have none.
    """

    users: Tensor
    items: Tensor
    neg_items: Tensor | None = None
    labels: Tensor | None = None
    n_pos: Tensor | None = None
    n_neg: Tensor | None = None
    context: dict[str, Tensor] = field(default_factory=dict)
    part: Part | None = None

    @property
    def whole(self) -> Rows:
        """The batch that these rows are of."""
        return self.part.batch if self.part else self

    def own_of(self, values: Tensor) -> Tensor:
        """Of values [R, …] of the rows of the whole batch those of these rows."""
        return values if self.part is None else values[self.part.begin :][: len(self)]

    def total(self, own: Tensor) -> Tensor:
        """The sum of what each part of the batch gives, with gradients; all processes call. own: of these rows."""
        return own if self.part is None else _Total.apply(own, self.part)

    @classmethod
    def of_split(cls, split: TopKSplit | ImpressionLists | Labelled) -> Rows:
        """A data set's split as tensors, sharing its memory where that may be written to."""
        arrays = {f.name: getattr(split, f.name, None) for f in fields(cls) if f.name not in ("context", "part")}
        return cls(
            **{name: torch.from_numpy(np.require(a, requirements="W")) for name, a in arrays.items() if a is not None}
        )

    def __len__(self) -> int:
        return len(self.users)

    def map(self, function: Callable[[Tensor], Tensor]) -> Rows:
        """The same rows with `function` applied to every tensor."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("context", "part")}
        return Rows(
            **{name: function(t) for name, t in tensors.items() if t is not None},
            context={name: function(t) for name, t in self.context.items()},
        )

    def tensors(self) -> list[Tensor]:
        """All tensors, in one order."""
        found: list[Tensor] = []
        self.map(lambda tensor: found.append(tensor) or tensor)
        return found

    def __getitem__(self, rows: slice) -> Rows:
        return self.map(lambda tensor: tensor[rows])

    def take(self, index: Tensor) -> Rows:
        """The rows at `index`, int32 or int64 [n]."""
        return self.map(lambda tensor: tensor.index_select(0, index))

    def to(self, device: torch.device) -> Rows:
        """The same rows on `device`."""
        return self.map(lambda tensor: tensor.to(device))


@dataclass(frozen=True, eq=False)
class Part:
    """The rows begin … end − 1 of a batch. None is a part too, for which its first row then stands at weight 0.
    group: the processes that have the batch's parts."""

    batch: Rows
    begin: int
    end: int
    group: Processes = ALONE

    @property
    def weight(self) -> float:
        """What of the batch's rows these are."""
        return (self.end - self.begin) / len(self.batch)

    @property
    def rows(self) -> Rows:
        """The rows, that know of their part."""
        return replace(self.batch[self.begin : max(self.end, self.begin + 1)], part=self)


class _Total(torch.autograd.Function):
    """A part's loss counts by its weight; what it gives to a sum that all losses look at alike counts in full."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, part: Part) -> Tensor:
        ctx.weight, total = part.weight, own * float(part.weight > 0)
        part.group.sum_(total)()
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad / ctx.weight if ctx.weight else torch.zeros_like(grad), None


@dataclass(frozen=True, eq=False)
class Query:
    """Users int64 [B] to score with candidates: items int64 [B, C], or all items where that is None.

    context: as in Rows.
    """

    users: Tensor
    items: Tensor | None = None
    context: dict[str, Tensor] = field(default_factory=dict)


def shuffled(rows: Rows) -> Rows:
    """The rows in an order from torch's CPU generator, the same on every device. In 32 bits the same order is drawn
    several times faster, and fewer bytes move."""
    short = len(rows) < 2**31
    return rows.take(torch.randperm(len(rows), dtype=torch.int32 if short else torch.int64).to(rows.users.device))


def batches(rows: Rows, size: int) -> Iterator[Rows]:
    """The rows in their order, `size` at a time; the last batch may be shorter."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
