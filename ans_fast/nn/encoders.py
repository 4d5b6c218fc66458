"""Encoders: the hops of a node table."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ans_fast import ops
from ans_fast.graph import BipartiteGraph
from ans_fast.nn.contrast import Negatives, sampled_softmax
from ans_fast.nn.gather import widened

PRECISIONS = {"float32": None, "bf16": torch.bfloat16}  # and the dtype of hops; None: the table's


class Encoder(nn.Module):
    """A subclass gives `forward`: what it makes of a node table.

    Args:
        n_layers: H − 1, hops beyond the embedding. emb_size: D.
        precision: of the hops, one of `precisions`. All that is summed is float32, and so are the table's gradients.

    Attributes:
        precisions: those of PRECISIONS that it has.
        captures: as in Recommender.
        by_columns: whether it acts on every column of the table alone.
        folds_in: whether a user's hops are sums of its items', as `fold_in` takes them to be.
    """

    precisions: ClassVar[tuple[str, ...]] = tuple(PRECISIONS)
    captures: ClassVar[bool] = True
    by_columns: ClassVar[bool] = False
    folds_in: ClassVar[bool] = False

    def __init__(self, n_layers: int, emb_size: int, precision: str = "float32"):
        super().__init__()
        self.n_layers, self.precision = n_layers, precision

    def forward(self, table: Tensor, graph: BipartiteGraph, nodes: Tensor | None = None) -> Tensor:
        """The table [N, D] -> the hops [R, H, D] of nodes int64 [R]; None: of all N."""
        raise NotImplementedError

    def mean(self, table: Tensor, graph: BipartiteGraph, nodes: Tensor | None = None) -> Tensor:
        """The mean of a node's hops, float32 where these are shorter: [R, D]."""
        return widened(self(table, graph, nodes)).mean(1)

    def stored(self, rows: Tensor) -> Tensor:
        """The table, or rows of it, as hops are stored."""
        dtype = PRECISIONS[self.precision]
        return rows if dtype is None else rows.to(dtype)

    def own_loss(self, table: Tensor, graph: BipartiteGraph, users: Tensor, items: Tensor) -> Tensor | None:
        """The encoder's own part of the loss of clicks users int64 [B], items int64 [B]; None if nothing."""
        return None

    def begin_epoch(self) -> None:
        """Forgets what was drawn for an epoch."""


class LightGCNEncoder(Encoder):
    """ "LightGCN" (He et al., SIGIR 2020): the embedding and its n_layers propagated ones."""

    by_columns = folds_in = True

    def forward(self, table: Tensor, graph: BipartiteGraph, nodes: Tensor | None = None) -> Tensor:
        return ops.propagate(self.stored(table), graph, self.n_layers, nodes)

    def mean(self, table: Tensor, graph: BipartiteGraph, nodes: Tensor | None = None) -> Tensor:
        return ops.propagate_mean(table, graph, self.n_layers, nodes, PRECISIONS[self.precision] is not None)


class BPRMFEncoder(Encoder):
    """Matrix factorisation ("BPR", Rendle et al., UAI 2009): the embedding alone."""

    by_columns = folds_in = True

    def forward(self, table: Tensor, graph: BipartiteGraph, nodes: Tensor | None = None) -> Tensor:
        return self.stored(table if nodes is None else table.index_select(0, nodes))[:, None]

    def mean(self, table: Tensor, graph: BipartiteGraph, nodes: Tensor | None = None) -> Tensor:
        return widened(self(table, graph, nodes)[:, 0])


class NGCFEncoder(Encoder):
    """ "Neural Graph Collaborative Filtering" (Wang et al., SIGIR 2019), without dropout.

    With e a layer's vectors and a = D^-1/2 A D^-1/2 e, the next layer's are LeakyReLU((e + a) W1 + (e ⊙ a) W2 + b), and
    a node's hops are these at length 1.
    """

    precisions = ("float32",)

    def __init__(self, n_layers: int, emb_size: int, precision: str = "float32"):
        super().__init__(n_layers, emb_size, precision)
        self.sums = nn.ModuleList(nn.Linear(emb_size, emb_size) for _ in range(n_layers))
        self.products = nn.ModuleList(nn.Linear(emb_size, emb_size) for _ in range(n_layers))
        for layer in (*self.sums, *self.products):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, table: Tensor, graph: BipartiteGraph, nodes: Tensor | None = None) -> Tensor:
        hops, own = [table], table
        for sums, products in zip(self.sums, self.products, strict=True):
            near = ops.propagate(own, graph, 1)[:, 1]
            own = F.leaky_relu(sums(own + near) + products(own * near), 0.2)
            hops.append(F.normalize(own, dim=1))
        return torch.stack(hops if nodes is None else [hop.index_select(0, nodes) for hop in hops], 1)


class SGLEncoder(LightGCNEncoder):
    """ "Self-supervised Graph Learning for Recommendation" (Wu et al., SIGIR 2021), with dropped edges.

    LightGCN, and a contrastive loss: two graphs, drawn anew each epoch, each lack a share of the clicks; a node's
    vectors in both should be alike, and unlike those of the batch's other nodes. Weight, temperature and share are the
    published ones.
    """

    WEIGHT, TEMPERATURE, DROPPED = 0.1, 0.2, 0.1
    by_columns = False  # its own loss is that of whole vectors
    captures = False  # each epoch has graphs of its own, and each batch as many distinct nodes as it has

    def __init__(self, n_layers: int, emb_size: int, precision: str = "float32"):
        super().__init__(n_layers, emb_size, precision)
        self.views: list[BipartiteGraph] = []

    def begin_epoch(self) -> None:
        """Forgets the two graphs."""
        self.views = []

    def own_loss(self, table: Tensor, graph: BipartiteGraph, users: Tensor, items: Tensor) -> Tensor:
        self.views = self.views or [without_some(graph, self.DROPPED) for _ in range(2)]
        parts = [users.unique(), items.unique() + graph.n_users]
        sizes, nodes = [len(part) for part in parts], torch.cat(parts)
        views = (self.mean(table, view, nodes) for view in self.views)
        loss = table.new_zeros(())
        for one, two in zip(*(F.normalize(vectors, dim=1).split(sizes) for vectors in views), strict=True):
            each = torch.arange(len(one), device=one.device)
            others = Negatives(two, each).log_sums(one, each, self.TEMPERATURE)
            loss = loss + sampled_softmax((one * two).sum(1) / self.TEMPERATURE, others).mean()
        return self.WEIGHT * loss


ENCODERS = {"LightGCN": LightGCNEncoder, "BPRMF": BPRMFEncoder, "NGCF": NGCFEncoder, "SGL": SGLEncoder}


def without_some(graph: BipartiteGraph, share: float) -> BipartiteGraph:
    """The graph without a random share of its clicks, drawn by torch's CPU generator."""
    users, items = graph.clicks()
    kept = (torch.rand(graph.n_edges) >= share).to(graph.device)
    return BipartiteGraph(users[kept], items[kept], graph.n_users, graph.n_items)
