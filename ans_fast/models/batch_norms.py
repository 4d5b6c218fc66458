"""Weight decay by what a batch looks at: the term that recommenders of the field call reg."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ans_fast.flag_types import non_negative, switch
from ans_fast.options import Option, Options
from ans_fast.training.batches import Rows


class BatchNorms(Options):
    """A model with reg_weight · reg in its loss, reg = (|E_u| + |E_p| + |E_n|) / P over the embeddings, not the
    propagated ones, of a batch's users, clicked items and negatives.

    Args:
        reg_weight: 0 leaves it out. require_pow: 1 squares and halves the norms, which makes reg_weight the weight
            decay of LightGCN's code.
    """

    reg_weight = Option(non_negative, 0.0, "weight of the batch's embedding norms", names_runs=True)
    require_pow = Option(
        switch, 0, "1: these norms are squared and halved, as LightGCN's code has them", names_runs=True
    )

    def reg(self, batch: Rows, squares: Sequence[Tensor], n_pairs: int) -> Tensor:
        """reg, a scalar. A row that comes k times counts k times.

        Args:
            batch: the rows at hand, maybe a part of the batch.
            squares: squared lengths of the embeddings of their users, clicked items and negatives, each of any shape.
            n_pairs: P of the whole batch.
        """
        sums = batch.total(torch.stack([part.sum() for part in squares]))
        least = torch.finfo(sums.dtype).tiny  # the root of 0 has no gradient
        norms = sums / 2 if self.require_pow else sums.clamp(min=least).sqrt()
        return norms.sum() / max(n_pairs, 1)
