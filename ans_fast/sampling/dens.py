"""Negatives that are hard by the factors that matter to the user."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ans_fast import ops
from ans_fast.nn.gather import products, projected
from ans_fast.sampling.dns import DNS


class DENS(DNS):
    """ "Disentangled Negative Sampling for Collaborative Filtering" (Lai et al., WSDM 2023).

    Gates split items into factors that matter to the user and the rest. Chosen is, hop by hop, the candidate whose
    relevant factors score low beside the whole of it, which counts less by the click until `warmup`; four pairwise
    tasks teach the gates.

    Args:
        emb_size: D. gamma: weight of the tasks. warmup: clicks trained on until the whole does not count any more.
    """

    hop_by_hop = True

    def __init__(self, emb_size: int, gamma: float, warmup: int):
        super().__init__()
        self.gamma, self.warmup = gamma, warmup
        self.gates = nn.ModuleDict({name: nn.Linear(emb_size, emb_size) for name in ("user", "item", "pos", "neg")})
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))  # clicks trained on
        self.rest: float | Tensor = 1.0  # how much the whole counts in this step

    def draw(self, users: Tensor, n_negatives: int, n_hops: int, seed: Tensor) -> dict[str, Tensor]:
        """Nothing; counts the clicks."""
        self.rest = (1 - self.seen.double() / max(self.warmup, 1)).clamp(min=0)
        self.seen += len(users)
        return {}

    def hardest(self, u: Tensor, p: Tensor, item_hops: Tensor, candidates: Tensor) -> Tensor:
        pos_gate = projected(self.gates["pos"], self._relevant_pos(u, p))
        return ops.hardest_negatives(
            u, item_hops, candidates, projected(self.gates["neg"], item_hops), pos_gate, self.rest
        )

    def own_loss(self, u: Tensor, p: Tensor, n: Tensor) -> Tensor:
        """The mean of the tasks, weighed: what is relevant in the clicked item scores above what is not, and above what
        is relevant in the negative; what is irrelevant in the negative scores above what is relevant there, and above
        what is irrelevant in the clicked item."""
        relevant_pos = self._relevant_pos(u, p)
        relevant_neg = (
            n * (projected(self.gates["neg"], n) + projected(self.gates["pos"], relevant_pos)[:, None]).sigmoid()
        )
        user = u.mean(1)
        pos, neg = _pooled_scores(user, relevant_pos, relevant_neg)  # [B, 1], [B, K]
        pos_rest, neg_rest = _pooled_scores(user, p - relevant_pos, n - relevant_neg)
        worse = (pos_rest - pos, neg - neg_rest, neg - pos, pos_rest - neg_rest)
        return self.gamma * sum(F.softplus(difference.logsumexp(1)).mean() for difference in worse) / 4

    def _relevant_pos(self, u: Tensor, p: Tensor) -> Tensor:
        """The clicked items' factors that matter to the user: [B, H, D] each."""
        return p * (projected(self.gates["item"], p) + projected(self.gates["user"], u)).sigmoid()


def _pooled_scores(user: Tensor, pos: Tensor, neg: Tensor) -> tuple[Tensor, Tensor]:
    """user [B, D] with pos [B, H, D] and neg [B, K, H, D], pooled over hops: scores [B, 1] and [B, K]."""
    scores = products(user, torch.cat([pos[:, None], neg], 1).mean(2))
    return scores.split([1, neg.shape[1]], 1)
