"""The hardest of several candidates."""

from __future__ import annotations

from torch import Tensor, nn

from ans_fast import ops


class DNS(nn.Module):
    """ "Optimizing Top-N Collaborative Filtering via Dynamic Negative Item Sampling" (Zhang et al., SIGIR 2013).

    The candidate that the model itself scores highest at the moment is the negative. Of a node it sees the one vector
    that ranks, so H is 1.

    In shapes: B clicks, K negatives for each, M candidates for a negative, H hops, D values a vector.
    """

    hop_by_hop = False

    def draw(self, users: Tensor, n_negatives: int, n_hops: int, seed: Tensor) -> dict[str, Tensor]:
        """The draws of a step for its clicks users int64 [B] beside candidates, by the candidates' seed int64 [1]:
        tensors [B, …] by name."""
        return {}

    def hardest(self, u: Tensor, p: Tensor, item_hops: Tensor, candidates: Tensor) -> Tensor:
        """The hardest candidate for each hop of a negative, without gradients.

        Args: u, p: [B, H, D], the clicks' users and items. item_hops: [n_items, H, D]. candidates: int64 [B, K, M].
        Returns: items, int64 [B, K, H].
        """
        return ops.hardest_negatives(u.mean(1, keepdim=True).expand_as(u), item_hops, candidates)

    def negatives(self, p: Tensor, n: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """The negatives' rows, made of those of the hardest items n [B, K, H, D], the clicked item's p [B, H, D] and
        what `draw` gave."""
        return n

    def own_loss(self, u: Tensor, p: Tensor, n: Tensor) -> Tensor | None:
        """An addition to the loss; None if there is none."""
        return None
