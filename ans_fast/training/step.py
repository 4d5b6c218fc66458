"""One step of training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ans_fast.ops._seed import draw_seeds
from ans_fast.training.batches import Rows, batches
from ans_fast.training.optimizer import Optimizer

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender


class Step:
    """Loss, gradients, update: what is done with a batch.

    Attributes:
        names: of what a step gives, the loss first; () before the first step.
        alone: whether what it gives is of the whole batch, and not this process's part of a sum (`of_batches`).
    """

    alone = True

    def __init__(self, model: Recommender, optimizer: Optimizer):
        self.model, self.optimizer = model, optimizer
        self.names: tuple[str, ...] = ()

    def __call__(self, batch: Rows, seeds: Sequence[Tensor]) -> Tensor:
        """Updates the parameters. seeds: int64 [1], as many as the model's seed_count. Returns the loss and its parts,
        detached [T]."""
        self.optimizer.zero_grad()
        loss, parts = self.model.loss(self.model.draw(batch, seeds), seeds)
        loss.backward()
        self.optimizer.step()
        self.names = ("loss", *parts)
        return torch.stack([value.detach() for value in (loss, *parts.values())])

    def epoch(self, rows: Rows, size: int) -> Iterator[Tensor]:
        """A step with `size` rows after the other, in their order: what each gives, to be read before the next epoch.

        All seeds are drawn at the start, from torch's CPU generator, and handed down: nothing below draws one by
        itself.
        """
        seeds = draw_seeds(-(-len(rows) // size), self.model.seed_count)
        for batch, own in zip(batches(rows, size), seeds, strict=True):
            yield self(batch, own.unbind())

    def of_batches(self, values: Tensor) -> Tensor:
        """What steps gave [n, T], of their whole batches."""
        return values
