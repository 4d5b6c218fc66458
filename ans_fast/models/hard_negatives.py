"""Hard negatives: of many candidates, the ones that the model itself scores highest at the moment."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ans_fast import ops
from ans_fast.models.gather import products


class DNS(nn.Module):
    """ "Optimizing Top-N Collaborative Filtering via Dynamic Negative Item Sampling" (Zhang et al., SIGIR 2013).

    The candidate with the highest score is the negative. Of a node it sees the one vector that ranks, so H is 1.

    In shapes: B clicks, K negatives for each, M candidates for a negative, H hops, D values a vector.
    """

    hop_by_hop = False

    def choose(self, u: Tensor, p: Tensor, item_hops: Tensor, candidates: Tensor) -> Tensor:
        """Which candidate gives each hop of a negative, without gradients.

        Args: u, p: [B, H, D], the clicks' users and items. item_hops: [n_items, H, D]. candidates: int64 [B, K, M].
        Returns: items, int64 [B, K, H].
        """
        return ops.hardest_negatives(u.mean(1, keepdim=True).expand_as(u), item_hops, candidates)

    def negatives(self, p: Tensor, n: Tensor) -> Tensor:
        """What the rows of chosen items n [B, K, H, D] become beside the clicked item's p [B, H, D]."""
        return n

    def own_loss(self, u: Tensor, p: Tensor, n: Tensor) -> Tensor | None:
        """What is added to the loss; None if nothing."""
        return None


class MixGCF(DNS):
    """ "MixGCF: An Improved Training Method for Graph Neural Network-based Recommender Systems" (Huang et al.,
    KDD 2021).

    Hop by hop, the candidates move a random share of the way to the clicked item, and the highest-scored gives its
    vector to a synthetic negative. The share is one for all candidates, so the highest-scored was so before.
    """

    hop_by_hop = True

    def negatives(self, p: Tensor, n: Tensor) -> Tensor:
        share = torch.rand(*n.shape[:3], 1, device=n.device)
        return torch.lerp(n, p[:, None], share)


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

    def choose(self, u: Tensor, p: Tensor, item_hops: Tensor, candidates: Tensor) -> Tensor:
        rest = max(0.0, 1 - int(self.seen) / max(self.warmup, 1))
        self.seen += len(u)
        pos_gate = self.gates["pos"](self._relevant_pos(u, p))
        return ops.hardest_negatives(u, item_hops, candidates, self.gates["neg"](item_hops), pos_gate, rest)

    def own_loss(self, u: Tensor, p: Tensor, n: Tensor) -> Tensor:
        """The mean of the tasks, weighed: what is relevant in the clicked item scores above what is not, and above what
        is relevant in the negative; what is irrelevant in the negative scores above what is relevant there, and above
        what is irrelevant in the clicked item."""
        relevant_pos = self._relevant_pos(u, p)
        relevant_neg = n * (self.gates["neg"](n) + self.gates["pos"](relevant_pos)[:, None]).sigmoid()
        user = u.mean(1)
        pos, neg = _pooled_scores(user, relevant_pos, relevant_neg)  # [B, 1], [B, K]
        pos_rest, neg_rest = _pooled_scores(user, p - relevant_pos, n - relevant_neg)
        worse = (pos_rest - pos, neg - neg_rest, neg - pos, pos_rest - neg_rest)
        return self.gamma * sum(F.softplus(difference.logsumexp(1)).mean() for difference in worse) / 4

    def _relevant_pos(self, u: Tensor, p: Tensor) -> Tensor:
        """The clicked items' factors that matter to the user: [B, H, D] each."""
        return p * (self.gates["item"](p) + self.gates["user"](u)).sigmoid()


def _pooled_scores(user: Tensor, pos: Tensor, neg: Tensor) -> tuple[Tensor, Tensor]:
    """user [B, D] with pos [B, H, D] and neg [B, K, H, D], pooled over hops: scores [B, 1] and [B, K]."""
    scores = products(user, torch.cat([pos[:, None], neg], 1).mean(2))
    return scores.split([1, neg.shape[1]], 1)
