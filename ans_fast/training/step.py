"""One step of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ans_fast.ops._seed import seed_tensor
from ans_fast.training.batches import Rows
from ans_fast.training.optimizer import Optimizer

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender


class Step:
    """Seeds, loss, gradients, update: what a call does with a batch.

    Seeds are drawn here, from torch's CPU generator, and handed down: nothing below draws one by itself.
    """

    def __init__(self, model: Recommender, optimizer: Optimizer):
        self.model, self.optimizer = model, optimizer

    def __call__(self, batch: Rows) -> dict[str, Tensor]:
        """Updates the parameters: the loss and its parts, detached scalars by name, the loss first."""
        self.optimizer.zero_grad()
        seeds = draw_seeds(self.model.seed_count)
        loss, parts = self.model.loss(self.model.draw(batch, seeds), seeds)
        loss.backward()
        self.optimizer.step()
        return {name: value.detach() for name, value in {"loss": loss, **parts}.items()}


def draw_seeds(n: int) -> list[Tensor]:
    """n seeds, int64 [1] each."""
    return [seed_tensor(None) for _ in range(n)]
