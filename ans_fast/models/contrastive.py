"""Models whose loss may tell a click from many negatives at once."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ans_fast.errors import UserError
from ans_fast.flag_types import Choice, Integer, Number, switch
from ans_fast.models.clicks import Clicks
from ans_fast.models.dot_product import DotProduct
from ans_fast.models.losses import SOFTMAX_LOSSES, VECTOR_LOSSES
from ans_fast.models.modes import TOP_K
from ans_fast.nn.columns import Columns
from ans_fast.nn.contrast import Negatives, bilateral_softmax, sampled_softmax
from ans_fast.options import Option
from ans_fast.training.batches import Rows

TEMPERATURE = Number(1e-3, 1e3)
SHARED = "shared"  # items int64 [B, n_shared] of Rows.context, the same in every row


class Contrastive(DotProduct):
    """A model whose loss_n in TopK mode may be one of VECTOR_LOSSES, which look at cosines. The softmaxes among them:

    - SSM: a click's share among it and its negatives (`nn.contrast.sampled_softmax`).
    - BSL: the same with another temperature for clicks (`nn.contrast.bilateral_softmax`).

    Negatives are the batch's other items, which come as often as they are clicked, or items that are drawn once a step
    for all its clicks, whoever has clicked them. A click's own item is no negative of it.

    Args:
        graph: who clicked what.
        temperature, positive_temperature: what cosines are divided by. BSL has both, the latter for clicks.
        n_shared: items drawn once a step that are the negatives of all its clicks; 0: the batch's other items.
        logq: 1 lets a negative count by the inverse of how often it is to be expected, so that their sum stands for
            that over all items ("Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", Yi et
            al., RecSys 2019).
        ranking: "cosine", or "product" as in some published code: inner products then rank after training on cosines.
        options: see Recommender.

    Attributes:
        contrasts: whether the loss is one of these.
    """

    own_losses: ClassVar[dict[str, tuple[str, ...]]] = {TOP_K.name: ("SSM", "BSL")}

    temperature = Option(TEMPERATURE, 0.1, "what softmax losses divide cosines by", names_runs=True)
    positive_temperature = Option(TEMPERATURE, 0.1, "what BSL divides those of clicks by", names_runs=True)
    n_shared = Option(
        Integer(0, 2**16),
        0,
        "items drawn once a step that all its clicks have for negatives in softmax losses; 0: the batch's other items",
        names_runs=True,
    )
    logq = Option(switch, 0, "1: these negatives count by the inverse of their chance to be one", names_runs=True)
    ranking = Option(
        Choice(("cosine", "product")),
        "cosine",
        "what ranks after a loss over cosines: these, or products",
        names_runs=True,
    )

    def __init__(self, graph: Clicks, **options: Any):
        super().__init__(graph, **options)
        self.contrasts = self.loss_n in VECTOR_LOSSES
        if self.n_shared and self.loss_n not in SOFTMAX_LOSSES:
            raise UserError(f"n_shared needs a loss_n of {', '.join(SOFTMAX_LOSSES)}, got {self.loss_n}")

    @property
    def negatives_told(self) -> str:
        if not self.contrasts:
            return super().negatives_told
        if self.loss_n not in SOFTMAX_LOSSES:
            return "no negatives"
        return f"{self.n_shared:,} negatives for all" if self.n_shared else "negatives are the others' items"

    def negative_items(self, batch: Rows) -> Tensor:
        """The items int64 [n] that a softmax tells the batch's clicks from, also those of other parts of a batch."""
        return batch.context[SHARED][0] if self.n_shared else batch.whole.items

    def items_of(self, batch: Rows) -> list[Tensor]:
        negatives = [self.negative_items(batch)] if self.loss_n in SOFTMAX_LOSSES else []
        return [*super().items_of(batch), *negatives]

    def draw_shared(self, batch: Rows, seed: Tensor) -> dict[str, Tensor]:
        """The batch's context with n_shared items for all rows."""
        items = self.sampler.shared(self.graph, self.n_shared, seed)
        return {**batch.context, SHARED: items.expand(len(batch), -1)}

    def softmax_losses(
        self, batch: Rows, users: Tensor, items: Tensor, negatives: Tensor, differences: Tensor | None = None
    ) -> Tensor:
        """The losses of the batch's clicks [B].

        Args:
            users, items: their vectors, of length 1 [B, K].
            negatives: those of `negative_items` [n, K].
            differences: [B], by how much the cosine of each click is above that of one more negative, its own.
        """
        ids = self.negative_items(batch)
        bias = -self._log_counts(ids).to(negatives.dtype) if self.logq else None
        log_sums = Negatives(negatives, ids, bias).log_sums(users, batch.items, self.temperature)
        cosines = (users * items).sum(1)
        if differences is not None:
            log_sums = torch.logaddexp(log_sums, (cosines - differences) / self.temperature)
        if self.loss_n == "BSL":
            return bilateral_softmax(cosines / self.positive_temperature, log_sums)
        return sampled_softmax(cosines / self.temperature, log_sums)

    def _log_counts(self, ids: Tensor) -> Tensor:
        """log of how often each of ids int64 [n] is to be expected among n negatives: [n]."""
        if self.n_shared:
            chances = self.sampler.chances(self.graph, ids)
        else:
            chances = self.graph.degrees[self.graph.n_users + ids].clamp(min=1) / self.graph.n_edges
        return (len(ids) * chances).log()

    def ranked(self, rows: Tensor, columns: Columns | None = None) -> Tensor:
        """Vectors [R, K] as they rank: of length 1 where cosines do. columns: of which `rows` are this process's, None
        for whole ones."""
        if not self.contrasts or self.ranking == "product":
            return rows
        return F.normalize(rows, dim=1) if columns is None else columns.normalize(rows)
