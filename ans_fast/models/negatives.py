"""Ways to choose negatives for models that score by products."""

from __future__ import annotations

from argparse import _ArgumentGroup
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ans_fast.errors import UserError
from ans_fast.flag_types import non_negative, positive_int
from ans_fast.graph import BipartiteGraph
from ans_fast.models import losses
from ans_fast.models.dot_product import DotProduct, pair_scores
from ans_fast.models.gather import products, rows_at
from ans_fast.models.rows import Rows

SAMPLINGS = ("uniform", "popularity", "DNS", "MixGCF", "DENS")
POWER = 0.75  # of an item's clicks, in "popularity"
TRIES = 8  # popular items looked at until one is not clicked; then a uniform one


class WithNegatives(DotProduct):
    """A model with a choice of negatives in TopK mode. A subclass gives `hops`; vectors are their mean.

    For each clicked item num_neg negatives are chosen:

    - uniform: any item that the user has not clicked ("BPR", Rendle et al., UAI 2009).
    - popularity: such an item by clicks^0.75 (the distribution of "word2vec", Mikolov et al., NIPS 2013).
    - DNS: of n_candidates uniform ones the highest-scored ("Optimizing Top-N Collaborative Filtering via Dynamic
      Negative Item Sampling", Zhang et al., SIGIR 2013).
    - MixGCF: the candidates move a random share of the way to the clicked item; hop by hop the highest-scored gives its
      vector to a synthetic negative ("MixGCF", Huang et al., KDD 2021). The share is one for all candidates, so that
      the highest-scored is the one that was before.
    - DENS: gates split items into factors relevant and irrelevant to the user. Chosen is, hop by hop, the candidate
      whose relevant factors score low beside the rest of it, which counts less by the epoch until dens_warmup; four
      pairwise tasks, weighed dens_gamma, teach the gates ("Disentangled Negative Sampling for Collaborative
      Filtering", Lai et al., WSDM 2023).

    ANS itself is a model of its own, `ANS`.

    Args:
        graph: who clicked what. negative_sampling: one of SAMPLINGS. n_candidates: M, looked at for each negative.
        dens_gamma, dens_warmup: see above. training: see Recommender.
    """

    def __init__(
        self,
        graph: BipartiteGraph,
        emb_size: int = 64,
        negative_sampling: str = "uniform",
        n_candidates: int = 32,
        dens_gamma: float = 0.3,
        dens_warmup: int = 100,
        **training: Any,
    ):
        super().__init__(graph, **training)
        if negative_sampling not in SAMPLINGS:
            raise UserError(f"negative_sampling must be one of {', '.join(SAMPLINGS)}, got {negative_sampling!r}")
        if negative_sampling != "uniform" and self.mode != "TopK":
            raise UserError(
                f"negative_sampling {negative_sampling} needs TopK mode: in {self.mode} mode nothing is drawn"
            )
        self.emb_size, self.negative_sampling, self.n_candidates = emb_size, negative_sampling, n_candidates
        self.dens_gamma, self.dens_warmup = dens_gamma, dens_warmup
        if negative_sampling == "DENS":
            self.gates = nn.ModuleDict({name: nn.Linear(emb_size, emb_size) for name in ("user", "item", "pos", "neg")})
            self.register_buffer("seen", torch.zeros((), dtype=torch.int64))  # clicks trained on

    @classmethod
    def add_arguments(cls, group: _ArgumentGroup) -> None:
        group.add_argument("--emb_size", type=positive_int, default=64, help="size of the embedding vectors")
        group.add_argument(
            "--negative_sampling", choices=SAMPLINGS, default="uniform", help="how negatives are chosen in TopK mode"
        )
        group.add_argument(
            "--n_candidates", type=positive_int, default=32, help="candidates of DNS, MixGCF and DENS for a negative"
        )
        group.add_argument("--dens_gamma", type=non_negative, default=0.3, help="weight of DENS's tasks for its gates")
        group.add_argument("--dens_warmup", type=positive_int, default=100, help="epochs until DENS is at its hardest")

    def hops(self) -> Tensor:
        """The vectors of all nodes hop by hop [N, H, D], with gradients."""
        raise NotImplementedError

    def nodes(self) -> Tensor:
        return self.hops().mean(1)

    def draw_negatives(self, users: Tensor) -> Tensor:
        uniform = super().draw_negatives(users)
        if self.negative_sampling != "popularity":
            return uniform
        weights = self.graph.degrees[self.graph.n_users :].double().pow(POWER)
        weights[: self.first_item] = 0
        ends = weights.cumsum(0)
        draws = torch.rand(*uniform.shape, TRIES, dtype=torch.float64, device=users.device) * ends[-1]
        items = torch.searchsorted(ends, draws, right=True).clamp(max=self.graph.n_items - 1)  # [B, num_neg, TRIES]
        free = ~self._clicked(users, items)
        first = items.gather(2, free.byte().argmax(2, keepdim=True))[..., 0]
        return torch.where(free.any(2), first, uniform)

    def _clicked(self, users: Tensor, items: Tensor) -> Tensor:
        """Whether users [B] have clicked items [B, …]: bool [B, …]."""
        graph = self.graph
        if not graph.n_edges:
            return torch.zeros_like(items, dtype=torch.bool)
        owners = torch.repeat_interleave(
            torch.arange(graph.n_users, device=users.device), graph.degrees[: graph.n_users]
        )
        pairs = owners * graph.n_items + graph.indices[: graph.n_edges] - graph.n_users  # ascending, as rows are
        wanted = users.view(-1, *[1] * (items.dim() - 1)) * graph.n_items + items
        return pairs[torch.searchsorted(pairs, wanted).clamp(max=len(pairs) - 1)] == wanted

    def loss(self, batch: Rows) -> Tensor:
        if self.mode != "TopK" or self.negative_sampling in ("uniform", "popularity"):
            return super().loss(batch)
        hops = self.hops()
        n_rows, n_hops = len(batch), hops.shape[1]
        candidates = self.draw_negatives(batch.users.repeat_interleave(self.n_candidates))
        candidates = candidates.view(n_rows, self.n_candidates, self.num_neg).transpose(1, 2)  # [B, K, M]
        pos_nodes = batch.items + self.graph.n_users
        with torch.no_grad():
            chosen = self._choose(hops.detach(), batch.users, pos_nodes, candidates)  # [B, K, H]
        nodes = torch.stack([batch.users, pos_nodes], 1)[..., None].expand(-1, -1, n_hops)
        nodes = torch.cat([nodes, chosen + self.graph.n_users], 1)  # [B, 2 + K, H]
        vectors = rows_at(hops.flatten(0, 1), nodes * n_hops + torch.arange(n_hops, device=nodes.device))
        u, p, n = vectors[:, 0], vectors[:, 1], vectors[:, 2:]  # [B, H, D], [B, H, D], [B, K, H, D]
        if self.negative_sampling == "MixGCF":
            share = torch.rand(n_rows, self.num_neg, n_hops, 1, device=n.device)
            n = share * p[:, None] + (1 - share) * n
        loss = losses.top_k_bpr(products(u.mean(1), torch.cat([p[:, None], n], 1).mean(2)))
        if self.negative_sampling == "DENS":
            self.seen += n_rows
            tasks = self._tasks(u, p, n)
            self.terms = {"bpr": loss.detach(), "dens": tasks.detach()}
            loss = loss + self.dens_gamma * tasks
        return loss

    def _choose(self, hops: Tensor, users: Tensor, pos_nodes: Tensor, candidates: Tensor) -> Tensor:
        """Which candidate [B, K, M] gives each hop of a negative: items int64 [B, K, H]."""
        u, flat, items = hops.index_select(0, users), candidates.flatten(1), hops[self.graph.n_users :]
        if self.negative_sampling == "DENS":
            n = rows_at(items.flatten(1), flat).view(*flat.shape, *items.shape[1:])  # [B, K · M, H, D]
            p = hops.index_select(0, pos_nodes)
            rest = (1 - min(1.0, int(self.seen) / max(self.graph.n_edges, 1) / self.dens_warmup)) * n
            scores = ((rest - self._relevant(n, self._relevant_pos(u, p))) * u[:, None]).sum(3).unbind(2)
        elif self.negative_sampling == "DNS":
            scores = [pair_scores(u.mean(1), items.mean(1), flat)] * hops.shape[1]
        else:
            scores = [pair_scores(u.mean(1), items[:, h].contiguous(), flat) for h in range(hops.shape[1])]
        best = torch.stack([s.view(candidates.shape).argmax(2) for s in scores], 2)  # [B, K, H]
        return candidates.gather(2, best)

    def _relevant_pos(self, u: Tensor, p: Tensor) -> Tensor:
        """The clicked items' factors that matter to the user: [B, H, D] each."""
        return p * (self.gates["item"](p) + self.gates["user"](u)).sigmoid()

    def _relevant(self, n: Tensor, relevant_pos: Tensor) -> Tensor:
        """The same of negatives [B, K, H, D], by the clicked item's."""
        return n * (self.gates["neg"](n) + self.gates["pos"](relevant_pos)[:, None]).sigmoid()

    def _tasks(self, u: Tensor, p: Tensor, n: Tensor) -> Tensor:
        """The mean of four tasks: what is relevant in the clicked item scores above what is not, and above what is
        relevant in the negative; what is irrelevant in the negative scores above what is relevant there, and above
        what is irrelevant in the clicked item."""
        relevant = self._relevant_pos(u, p)
        vectors = torch.cat([relevant[:, None], self._relevant(n, relevant)], 1)
        whole = torch.cat([p[:, None], n], 1)
        good = products(u.mean(1), vectors.mean(2))  # [B, 1 + K]
        bad = products(u.mean(1), (whole - vectors).mean(2))
        (pos, neg), (pos_rest, neg_rest) = good.split([1, n.shape[1]], 1), bad.split([1, n.shape[1]], 1)
        worse = (pos_rest - pos, neg - neg_rest, neg - pos, pos_rest - neg_rest)
        return sum(F.softplus(difference.logsumexp(1)).mean() for difference in worse) / 4
