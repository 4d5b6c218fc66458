"""LightGCN and ANS in plain PyTorch: what the library's steps are timed against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ans_fast import BipartiteGraph
from ans_fast.sparse import by_pairs, by_rows
from benchmarks.gpu.data import Data


def adjacency(graph: BipartiteGraph, layout: str) -> Tensor:
    """D^-1/2 A D^-1/2 [N, N], layout "COO" or "CSR"."""
    rows = torch.repeat_interleave(torch.arange(graph.n_nodes, device=graph.device), graph.degrees)
    columns = graph.indices.long()
    values = graph.scale[rows] * graph.scale[columns]
    if layout == "COO":
        return by_pairs(rows, columns, values, graph.n_nodes)
    return by_rows(graph.indptr, columns, values, graph.n_nodes)


class SymmetricProduct(torch.autograd.Function):
    """matrix @ x of a symmetric matrix, whose gradient is the same product. torch's own transposes the matrix in every
    step, and waits for the GPU meanwhile, so that it can't be captured."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, x: Tensor) -> Tensor:
        ctx.matrix = matrix
        return matrix @ x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, ctx.matrix @ grad


def bpr_loss(hops: Tensor, n_users: int, users: Tensor, pos: Tensor, neg: Tensor) -> Tensor:
    """LightGCN's: hops [N, H, D], users and pos int64 [B], neg int64 [B, 1]."""
    rows = hops.mean(1)
    u, p, n = rows[users], rows[n_users + pos], rows[n_users + neg[:, 0]]
    return F.softplus((u * n).sum(1) - (u * p).sum(1)).mean()


class AnsLoss(nn.Module):
    """The loss of ANS, term by term as the paper writes it: hops [N, H, D], users and pos int64 [B], neg int64
    [B, M]."""

    def __init__(self, dim: int, gamma: float = 0.01, eps: float = 0.1, noise_scale: float = 0.1):
        super().__init__()
        self.user_gate, self.item_gate, self.margin = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, 1)
        self.gamma, self.eps, self.noise_scale = gamma, eps, noise_scale

    def forward(self, hops: Tensor, n_users: int, users: Tensor, pos: Tensor, neg: Tensor) -> Tensor:
        u, p, n = hops[users][:, None], hops[n_users + pos][:, None], hops[n_users + neg]
        gate = torch.sigmoid(self.item_gate(n) * self.user_gate(u))
        n_hard, p_hard = n * gate, p * gate
        n_easy, p_easy = n - n_hard, p - p_hard
        distance = F.pairwise_distance(n_hard, p_hard).mean()
        orthogonality = torch.linalg.vector_norm(p_easy * n_easy, dim=-1).sum(-1).mean()
        margin = torch.sigmoid(1 / self.margin(n_hard * p_hard))
        direction = torch.sign(p_easy - n_easy).detach() * F.normalize(torch.rand_like(n), dim=-1)
        augmented = n + direction * margin * self.noise_scale
        of_hard, of_easy, of_augmented, of_all = ((u * rows).sum(-1) for rows in (n_hard, n_easy, augmented, n))
        sns = torch.log(1 + torch.exp(of_easy - of_hard).sum(1)).mean()
        best = (of_augmented + self.eps * (of_augmented - of_all)).argmax(1, keepdim=True)
        difference = (u * p).sum((1, 2, 3)) - of_augmented.gather(1, best).sum((1, 2))
        return F.softplus(-difference).mean() + self.gamma * (sns + distance + orthogonality)


class PlainStep:
    """A training step with the next batch of the data's rows: negatives, hops, loss, gradients, torch's fused Adam.

    Args:
        data: rows and graph. layout: of the adjacency, "COO" or "CSR".
        symmetric: whether products know that it is symmetric; only such a step can be captured.
        n_negatives: M. ans: the loss of ANS, else that of LightGCN.
    """

    def __init__(
        self, data: Data, batch_size: int, layout: str, symmetric: bool, n_negatives: int, ans: bool, dim: int = 64
    ):
        device, self.graph, self.rows = data.graph.device, data.graph, data.rows
        self.matrix = adjacency(data.graph, layout)
        self.product: Callable[[Tensor, Tensor], Tensor] = SymmetricProduct.apply if symmetric else torch.sparse.mm
        self.table = nn.Parameter(torch.empty(data.graph.n_nodes, dim, device=device))
        nn.init.xavier_uniform_(self.table)
        self.loss = AnsLoss(dim).to(device) if ans else bpr_loss
        parameters = [self.table, *(self.loss.parameters() if ans else ())]
        self.optimizer = torch.optim.Adam(
            parameters, lr=1e-3, weight_decay=1e-5, fused=True, capturable=device.type == "cuda"
        )
        self.n_negatives = n_negatives
        self.start = torch.zeros(1, dtype=torch.int64, device=device)  # of the next batch
        self.offsets = torch.arange(batch_size, device=device)

    def __call__(self) -> Tensor:
        """Updates the parameters; the loss."""
        batch = (self.start + self.offsets) % len(self.rows)
        self.start += len(self.offsets)
        users, pos = self.rows.users[batch], self.rows.items[batch]
        neg = torch.randint(self.graph.n_items, (len(batch), self.n_negatives), device=users.device)
        loss = self.loss(self.hops(), self.graph.n_users, users, pos, neg)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def hops(self, n_layers: int = 3) -> Tensor:
        """[N, n_layers + 1, D], with gradients."""
        hops = [self.table]
        for _ in range(n_layers):
            hops.append(self.product(self.matrix, hops[-1]))
        return torch.stack(hops, 1)
