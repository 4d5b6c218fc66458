"""What a score must reach to be among a user's best."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

AT_ONCE = 1 << 22  # scores that are held


class Thresholds(nn.Module):
    """values [n_users]: the score of each user's k-th best item, found anew whenever `every` epochs are over; 0 until
    then."""

    def __init__(self, n_users: int, k: int, every: int):
        super().__init__()
        self.k, self.every = k, every
        self.register_buffer("values", torch.zeros(n_users))
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))  # begun

    def begin_epoch(self, vectors: Callable[[], tuple[Tensor, Tensor]]) -> None:
        """Counts the epoch. vectors: gives users [n_users, K] and items [n_items, K], whose products are the scores."""
        epochs = int(self.epochs)
        if epochs and epochs % self.every == 0:
            self._find(*vectors())
        self.epochs += 1

    @torch.no_grad()
    def _find(self, users: Tensor, items: Tensor) -> None:
        k, at_once = min(self.k, len(items)), max(1, AT_ONCE // len(items))
        best = [(part @ items.t()).topk(k, 1).values[:, -1] for part in users.split(at_once)]
        self.values.copy_(torch.cat(best))
