"""A graph autoencoder that learns what to mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ans_fast import ops
from ans_fast.errors import UserError
from ans_fast.flag_types import Integer, layers, non_negative, positive_int, share, size
from ans_fast.graph import BipartiteGraph
from ans_fast.models.clicks import Clicks
from ans_fast.models.dot_product import DotProduct
from ans_fast.models.modes import TOP_K
from ans_fast.models.shared_options import EMB_SIZE
from ans_fast.nn.attention import NodePairs, attend
from ans_fast.nn.gather import products, rows_at
from ans_fast.nn.log_sums import mean_log_sum
from ans_fast.nn.node_table import NodeTable
from ans_fast.options import Option
from ans_fast.training.batches import Rows

FIX_STEPS = 10  # batches that share a masked graph


@dataclass
class Masked:
    """A masked graph: what the encoder sees, and the pairs of nodes that the decoder attends over."""

    graph: BipartiteGraph
    pairs: NodePairs


class AutoCF(DotProduct):
    """ "Automated Self-Supervised Learning for Recommendation" (Xia et al., WWW 2023, arXiv 2303.07797).

    - Masking: a node whose embedding resembles its neighbourhood's up to two steps makes a good centre. Scores of that
      with Gumbel noise choose n_seeds centres, around which all clicks within mask_depth steps are hidden; a loss term
      raises the scores.
    - Autoencoder: light graph convolution over what is left, then graph transformer layers, which attend over what is
      left, each node itself, and random pairs of hidden and random nodes. A node's vector is the sum of all layers.
    - Loss: −mean u·p over the clicks, and the contrastive regularisation, mean log Σ exp(x·y) of a batch's users to all
      users and its items to all items, weighed ssl_reg, and of its users to all items.

    Masks are drawn anew each FIX_STEPS batches. For ranking nothing is hidden. Unlike in the published code the
    convolution has no self-loops.

    Args:
        graph: who clicked what. emb_size: D. gcn_layers, gt_layers: layers of convolution and attention.
        n_heads: of attention; divides emb_size. n_seeds, mask_depth: see above. keep_rate: random nodes that join the
            hidden ones in pairs, a share of all nodes. ssl_reg: see above. options: see Recommender.
    """

    name = "AutoCF"
    modes = (TOP_K.name,)
    log_args = ("emb_size", "gcn_layers", "gt_layers", "n_heads", "n_seeds", "mask_depth", "keep_rate")

    emb_size = EMB_SIZE.but(default=32)
    num_neg = DotProduct.num_neg.but(only={"mode": ()})  # all nodes are told from each other
    gcn_layers = Option(layers, 2, "graph convolution layers")
    gt_layers = Option(Integer(0, 16), 1, "graph transformer layers")
    n_heads = Option(size, 4, "attention heads; divides emb_size")
    n_seeds = Option(positive_int, 100, "centres of what is masked")
    mask_depth = Option(Integer(1, 100), 2, "steps from a centre that are masked")
    keep_rate = Option(share, 0.2, "share of random nodes in the decoder")
    ssl_reg = Option(non_negative, 1.0, "weight of the contrastive regularisation", names_runs=True)

    def __init__(self, graph: Clicks, **options: Any):
        super().__init__(graph, **options)
        emb_size = self.emb_size
        self.table = NodeTable(self.graph, emb_size)
        self.attention = nn.ParameterList(torch.empty(3, emb_size, emb_size) for _ in range(self.gt_layers))
        for part in (*self.table.parts(), *(matrix for layer in self.attention for matrix in layer.detach())):
            nn.init.xavier_uniform_(part)
        self._masked: Masked | None = None
        self._steps = 0

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        super().check_together(values)
        if values["emb_size"] % values["n_heads"]:
            raise UserError(f"n_heads of {cls.name} must divide emb_size {values['emb_size']}, got {values['n_heads']}")

    def begin_epoch(self) -> None:
        """Forgets the mask."""
        self._masked, self._steps = None, 0

    def nodes(self) -> Tensor:
        users, items = self.graph.clicks()
        pairs = NodePairs.both_ways(users, items + self.graph.n_users, self.graph.n_nodes)
        return self._vectors(Masked(self.graph, pairs))

    @property
    def seed_count(self) -> int:
        """For a mask's centres, its random nodes and its random pairs."""
        return 3

    @property
    def negatives_told(self) -> str:
        return "contrasted with all nodes"

    def draw(self, batch: Rows, seeds: Sequence[Tensor]) -> Rows:
        """The batch alone: clicks are contrasted with all nodes."""
        return batch

    def loss(self, batch: Rows, seeds: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        parts = {}
        if self._steps % FIX_STEPS == 0:
            scores = self._centre_scores()
            noisy = scores.detach() + gumbel(uniform(seeds[0], len(scores), scores.device))
            self._masked = self._mask(noisy.topk(min(self.n_seeds, len(scores))).indices, seeds[1:])
            parts["centres"] = -scores.mean()
        self._steps += 1
        users, items = self._vectors(self._masked).split([self.graph.n_users, self.graph.n_items])
        parts["clicks"] = -products(rows_at(users, batch.users), rows_at(items, batch.items)[:, None]).mean()
        own, counts = batch.users.unique(return_counts=True)
        near_users, near_items = rows_at(users, own), rows_at(items, batch.items.unique())
        alike = mean_log_sum(near_users, users) + mean_log_sum(near_items, items)
        parts["contrast"] = self.ssl_reg * alike + mean_log_sum(near_users, items, counts)
        return sum(parts.values()), {name: parts[name] for name in ("clicks", "contrast")}

    def _centre_scores(self) -> Tensor:
        """log sigmoid of the cosine of each node's vector and the mean of those up to two steps away: [N]."""
        own, degrees = self.table.weight, self.graph.degrees.to(self.table.weight.dtype)[:, None]
        near, n_near = self._sum_near(own), degrees
        far, n_far = self._sum_near(near) - degrees * own, self._sum_near(n_near) - degrees
        around = (near + far) / (n_near + n_far + 1e-8)
        return F.logsigmoid((F.normalize(around, dim=1) * F.normalize(own, dim=1)).sum(1))

    def _sum_near(self, x: Tensor) -> Tensor:
        """The sum over each node's neighbours: propagation without its scaling."""
        root = self.graph.degrees.to(x.dtype).sqrt()[:, None]
        return root * ops.propagate(root * x, self.graph, 1)[:, 1]

    def _mask(self, centres: Tensor, seeds: Sequence[Tensor]) -> Masked:
        """Hides the clicks around nodes int64 [S]. seeds: two, int64 [1]."""
        n, n_users, device = self.graph.n_nodes, self.graph.n_users, self.graph.device
        users, items = self.graph.clicks()
        items = items + n_users
        hidden = torch.zeros(n, dtype=torch.bool, device=device).index_fill(0, centres, True)
        ring, left = hidden.clone(), torch.ones_like(users, dtype=torch.bool)
        for depth in range(self.mask_depth):
            touched = left & (ring[users] | ring[items])
            left &= ~touched
            ring = torch.zeros_like(hidden)
            if depth < self.mask_depth - 1:
                ring[users[touched]] = ring[items[touched]] = True
                hidden |= ring
        users, items, n_pairs = users[left], items[left], 2 * len(users)
        hidden[(uniform(seeds[0], int(n * self.keep_rate), device).double() * n).long()] = True
        pool = hidden.nonzero()[:, 0]
        pairs = pool[(uniform(seeds[1], 2 * n_pairs, device).double() * len(pool)).long()].view(2, n_pairs)
        graph = BipartiteGraph(users, items - n_users, n_users, self.graph.n_items)
        return Masked(graph, NodePairs.both_ways(torch.cat([users, pairs[0]]), torch.cat([items, pairs[1]]), n))

    def _vectors(self, masked: Masked) -> Tensor:
        """The vectors of all nodes [N, D]."""
        hops = ops.propagate(self.table.weight, masked.graph, self.gcn_layers)
        total, last = hops.sum(1), hops[:, -1]
        for layer in self.attention:
            last = self._attend(last, layer, masked.pairs)
            total = total + last
        return total

    def _attend(self, x: Tensor, layer: Tensor, pairs: NodePairs) -> Tensor:
        """One graph transformer layer [N, D] -> [N, D]; each node attends to the others of its pairs."""
        heads = ((x @ matrix).split(self.emb_size // self.n_heads, 1) for matrix in layer)
        return torch.cat([attend(query, key, value, pairs) for query, key, value in zip(*heads, strict=True)], 1)


def uniform(seed: Tensor, n: int, device: torch.device) -> Tensor:
    """float32 [n] of uniform draws on [0, 1), the same on every device. A block of the generator has four."""
    return ops.ans_noise(seed, -(-n // 4), 4, device).flatten()[:n]


def gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel noise of uniform draws."""
    return -(-uniform.clamp(min=1e-20).log()).clamp(min=1e-20).log()
