"""Modes: the meaning of their rows and the losses over them, one object a mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor

from ans_fast import ops
from ans_fast.errors import UserError
from ans_fast.models import losses
from ans_fast.training.batches import Rows

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender


class Pairs(NamedTuple):
    """Clicks users int64 [P], pos_items int64 [P] with negatives int64 [P, M], of which neg_count int64 [P] are meant;
    None: all."""

    users: Tensor
    pos_items: Tensor
    neg_items: Tensor
    neg_count: Tensor | None = None


class PairShare(NamedTuple):
    """Where the pairs of a part of a batch stand: how many of the batch's come before them, and by what their mean is
    to be weighed where that of the part's rows has weight 1."""

    first: int = 0
    weight: float = 1.0


class Mode:
    """A subclass gives what stands here.

    Attributes:
        name: as flags and files have it.
        losses: what every model's loss_n may be; the first is the default.
        labelled: rows say what was shown and not clicked, which makes a loss without drawn negatives.
        listed: a row holds the items that were shown together, clicked ones first.
    """

    name: ClassVar[str]
    losses: ClassVar[tuple[str, ...]]
    labelled: ClassVar[bool]
    listed: ClassVar[bool]

    def losses_of(self, model: type[Recommender]) -> tuple[str, ...]:
        """What a model's loss_n may be: `losses`, and what it has of its own."""
        return (*self.losses, *model.own_losses.get(self.name, ()))

    def loss_of(self, model: type[Recommender], loss_n: str | None) -> str:
        """loss_n, or the default for None. Raises UserError for one that the model does not have."""
        names = self.losses_of(model)
        if loss_n not in (None, *names):
            raise UserError(
                f"loss_n of {model.name} must be one of {', '.join(names)} in {self.name} mode, got {loss_n!r}"
            )
        return loss_n or names[0]

    def candidates(self, batch: Rows) -> Tensor:
        """The items whose scores the loss compares: int64 [B, C]."""
        raise NotImplementedError

    def loss(self, loss_n: str, scores: Tensor, batch: Rows) -> Tensor:
        """The mean loss of the candidates' scores [B, C]."""
        raise NotImplementedError

    def pairs(self, batch: Rows) -> Pairs:
        """The batch's clicks, with drawn negatives or with what was shown beside them."""
        raise NotImplementedError

    def n_pairs(self, batch: Rows) -> int:
        """How many pairs `pairs` gives."""
        return len(batch)

    def share_of_pairs(self, batch: Rows) -> PairShare:
        """Of rows that may be part of a larger batch."""
        part = batch.part
        if part is None:
            return PairShare()
        first, end, total = (self.n_pairs(part.batch[:n]) for n in (part.begin, part.end, len(part.batch)))
        own = end - first
        return PairShare(first, own / total / part.weight if own else 0.0)


class TopK(Mode):
    """A row is a click, to be told from neg_items [B, M] drawn among what its user has not clicked."""

    name = "TopK"
    losses = ("BPR",)
    labelled = listed = False

    def candidates(self, batch: Rows) -> Tensor:
        return torch.cat([batch.items[:, None], batch.neg_items], 1)

    def loss(self, loss_n: str, scores: Tensor, batch: Rows) -> Tensor:
        return ops.top_k_bpr(scores)

    def pairs(self, batch: Rows) -> Pairs:
        return Pairs(batch.users, batch.items, batch.neg_items)


class Impression(Mode):
    """A row is a list of items that a user was shown, the clicked ones first."""

    name = "Impression"
    losses = losses.LIST_LOSSES
    labelled = listed = True

    def candidates(self, batch: Rows) -> Tensor:
        return batch.items

    def loss(self, loss_n: str, scores: Tensor, batch: Rows) -> Tensor:
        return losses.list_loss(loss_n, scores, batch.n_pos, batch.n_neg)

    def pairs(self, batch: Rows) -> Pairs:
        """Every clicked item with the list's other items."""
        column = torch.arange(batch.items.shape[1], device=batch.items.device)
        row, place = (column < batch.n_pos[:, None]).nonzero(as_tuple=True)
        n_negatives = int(batch.whole.n_neg.max())
        at = batch.n_pos[:, None] + column[:n_negatives]
        negatives = batch.items.gather(1, at.clamp(max=batch.items.shape[1] - 1))
        return Pairs(batch.users[row], batch.items[row, place], negatives[row], batch.n_neg[row])

    def n_pairs(self, batch: Rows) -> int:
        return int(batch.n_pos.sum())


class CTR(Mode):
    """A row is an item that a user was shown, with its label."""

    name = "CTR"
    losses = losses.CLICK_LOSSES
    labelled, listed = True, False

    def candidates(self, batch: Rows) -> Tensor:
        return batch.items[:, None]

    def loss(self, loss_n: str, scores: Tensor, batch: Rows) -> Tensor:
        return losses.click_loss(loss_n, scores[:, 0], batch.labels)

    def pairs(self, batch: Rows) -> Pairs:
        """The clicked rows, with negatives drawn as in TopK mode."""
        clicked = batch.labels.nonzero()[:, 0]
        return Pairs(batch.users[clicked], batch.items[clicked], batch.neg_items[clicked])

    def n_pairs(self, batch: Rows) -> int:
        return int(batch.labels.sum())


TOP_K, IMPRESSION, CLICKS = TopK(), Impression(), CTR()
MODES: dict[str, Mode] = {mode.name: mode for mode in (TOP_K, IMPRESSION, CLICKS)}
