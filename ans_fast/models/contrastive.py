"""Models whose loss may tell a click from many negatives at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
from ans_fast.nn.contrast import Negatives, OwnNegatives, bilateral_softmax, sampled_softmax
from ans_fast.nn.gather import rows_at
from ans_fast.nn.hops import Hops
from ans_fast.options import Option
from ans_fast.training.batches import Rows

TEMPERATURE = Number(1e-3, 1e3)
DRAWN = "drawn"  # items int64 [B, n] of Rows.context: n_own for each row, or the same n_shared in every row


class Contrastive(DotProduct):
    """A model whose loss_n in TopK mode may be one of VECTOR_LOSSES, which look at cosines. The softmaxes among them:

    - SSM: a click's share among it and its negatives (`nn.contrast.sampled_softmax`).
    - BSL: the same with another temperature for clicks (`nn.contrast.bilateral_softmax`).

    Negatives are the batch's other items, which come as often as they are clicked; or items that are drawn once a step
    for all its clicks, whoever has clicked them; or items that are drawn for each click alone, which its user has not
    clicked. A click's own item is no negative of it.

    Args:
        graph: who clicked what.
        temperature, positive_temperature: what cosines are divided by. BSL has both, the latter for clicks.
        n_shared: items drawn once a step that are the negatives of all its clicks.
        n_own: items drawn for each click that are its negatives alone. Both 0: the batch's other items.
        logq: 1 lets a negative count by the inverse of how often it is to be expected, so that their sum stands for
            that over all items ("Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", Yi et
            al., RecSys 2019). Chances are those over all items; own negatives, which leave out what their user has
            clicked, come a little more often.
        ranking: "cosine", or "product" as in some published code: inner products then rank after training on cosines.
        options: see Recommender.

    Attributes:
        contrasts: whether the loss is one of these.
        draws_negatives: whether negatives of softmaxes are drawn.
    """

    own_losses: ClassVar[dict[str, tuple[str, ...]]] = {TOP_K.name: ("SSM", "BSL")}

    temperature = Option(
        TEMPERATURE, 0.1, "what softmax losses divide cosines by", names_runs=True, only={"loss_n": SOFTMAX_LOSSES}
    )
    positive_temperature = Option(
        TEMPERATURE, 0.1, "what BSL divides those of clicks by", names_runs=True, only={"loss_n": ("BSL",)}
    )
    n_shared = Option(
        Integer(0, 2**16),
        0,
        "items drawn once a step that all its clicks have for negatives in softmax losses; 0: the batch's other items",
        names_runs=True,
        only={"loss_n": SOFTMAX_LOSSES},
    )
    n_own = Option(
        Integer(0, 2**12),
        0,
        "items drawn for each click alone that are its negatives in softmax losses; 0: the batch's other items",
        names_runs=True,
        only={"loss_n": SOFTMAX_LOSSES},
    )
    logq = Option(
        switch,
        0,
        "1: these negatives count by the inverse of their chance to be one",
        names_runs=True,
        only={"loss_n": SOFTMAX_LOSSES},
    )
    ranking = Option(
        Choice(("cosine", "product")),
        "cosine",
        "what ranks after a loss over cosines: these, or products",
        names_runs=True,
        only={"loss_n": VECTOR_LOSSES},
    )

    def __init__(self, graph: Clicks, **options: Any):
        super().__init__(graph, **options)
        self.contrasts = self.loss_n in VECTOR_LOSSES
        self.draws_negatives = self.n_shared > 0 or self.n_own > 0

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        super().check_together(values)
        if values["n_shared"] and values["n_own"]:
            raise UserError(f"n_shared and n_own exclude each other, got {values['n_shared']} and {values['n_own']}")

    @property
    def negatives_told(self) -> str:
        if not self.contrasts:
            return super().negatives_told
        if self.loss_n not in SOFTMAX_LOSSES:
            return "no negatives"
        if self.n_own:
            return f"{self.n_own:,} negatives each"
        return f"{self.n_shared:,} negatives for all" if self.n_shared else "negatives are the others' items"

    def negative_items(self, batch: Rows) -> Tensor:
        """The items that a softmax tells the batch's clicks from: int64 [n], also those of other parts of a batch, or
        of each click its own, int64 [B, n_own]."""
        if self.n_own:
            return batch.context[DRAWN]
        return batch.context[DRAWN][0] if self.n_shared else batch.whole.items

    def items_of(self, batch: Rows) -> list[Tensor]:
        negatives = [self.negative_items(batch)] if self.loss_n in SOFTMAX_LOSSES else []
        return [*super().items_of(batch), *negatives]

    def with_negatives(self, batch: Rows, seed: Tensor) -> Rows:
        """The batch with what is drawn for softmaxes."""
        if self.n_own:
            items = self.sampler(self.graph, batch.users, self.n_own, seed)
        else:
            items = self.sampler.shared(self.graph, self.n_shared, seed).expand(len(batch), -1)
        return replace(batch, context={**batch.context, DRAWN: items})

    def softmax_losses(self, batch: Rows, hops: Hops, differences: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The losses of the batch's clicks, and their cosines: [B] each.

        Args:
            hops: those of the batch's users and items and of `negative_items`, of length 1.
            differences: [B], by how much the cosine of each click is above that of one more negative, its own.
        """
        items, ids = hops.items.flatten(1), self.negative_items(batch)
        users = rows_at(hops.users.flatten(1), hops.user_rows(batch.users))
        cosines = (users * rows_at(items, hops.item_rows(batch.items))).sum(1)
        bias, places = -self._log_counts(ids).to(users.dtype) if self.logq else None, hops.item_rows(ids)
        if self.n_own:
            log_sums = OwnNegatives(items, places, bias).log_sums(users, self.temperature)
        else:
            log_sums = Negatives(rows_at(items, places), ids, bias).log_sums(users, batch.items, self.temperature)
        if differences is not None:
            log_sums = torch.logaddexp(log_sums, (cosines - differences) / self.temperature)
        if self.loss_n == "BSL":
            return bilateral_softmax(cosines / self.positive_temperature, log_sums), cosines
        return sampled_softmax(cosines / self.temperature, log_sums), cosines

    def _log_counts(self, ids: Tensor) -> Tensor:
        """log of how often each of ids int64 [… , n] is to be expected among n negatives: [… , n]."""
        if self.draws_negatives:
            chances = self.sampler.chances(self.graph, ids)
        else:
            chances = self.graph.degrees[self.graph.n_users + ids].clamp(min=1) / self.graph.n_edges
        return (ids.shape[-1] * chances).log()

    def ranked(self, rows: Tensor, columns: Columns | None = None) -> Tensor:
        """Vectors [R, K] as they rank: of length 1 where cosines do. columns: of which `rows` are this process's, None
        for whole ones."""
        if not self.contrasts or self.ranking == "product":
            return rows
        return F.normalize(rows, dim=1) if columns is None else columns.normalize(rows)
