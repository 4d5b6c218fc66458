"""Inputs of the operators, made on the GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ans_fast import BipartiteGraph

WEIGHTS = (0.7, -1.3, 0.4, 0.9)  # of ANS's four terms in the loss whose gradients are taken


@dataclass(frozen=True)
class AnsSize:
    """B pairs, M negatives, H hops, D wide."""

    B: int
    M: int
    H: int
    D: int

    def __str__(self) -> str:
        return f"B {self.B} M {self.M} H {self.H} D {self.D}"


def random_graph(n_users: int, n_items: int, n_edges: int, device: torch.device) -> BipartiteGraph:
    """Few items have most clicks."""
    users = torch.randint(n_users, (n_edges,), device=device)
    return BipartiteGraph(users, (n_items * torch.rand(n_edges, device=device) ** 2).long(), n_users, n_items)


def ans_inputs(
    size: AnsSize, n_users: int, n_items: int, dtype: torch.dtype, device: torch.device
) -> tuple[list[Tensor], list[Tensor]]:
    """The differentiable arguments of ans_terms, and its ids."""
    rows, dim = (size.H, size.D), size.D
    shapes = [(n_users, *rows), (n_items, *rows), (size.B, *rows), (n_items, *rows), (dim,), (1,)]
    tables = [(torch.randn(shape, device=device) * dim**-0.25).to(dtype) for shape in shapes]
    ids = [torch.randint(n, (size.B,), device=device) for n in (n_users, n_items)]
    ids.append(torch.randint(n_items, (size.B, size.M), device=device))
    return tables, ids


def hardest_inputs(size: AnsSize, n_items: int, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """user_rows, item_hops, candidates, item_gate, pos_gate; one negative to choose for each pair."""
    rows = [torch.randn(n, size.H, size.D, device=device).to(dtype) for n in (size.B, n_items, n_items, size.B)]
    return [*rows[:2], torch.randint(n_items, (size.B, 1, size.M), device=device), *rows[2:]]


def loss_and_gradients(ans_terms: Callable, tables: list[Tensor], ids: list[Tensor], seed: Tensor) -> list[Tensor]:
    """The loss and its gradients. Makes nothing on the CPU, so that it can be captured."""
    leaves = [table.detach().requires_grad_() for table in tables]
    terms = ans_terms(*leaves, *ids, eps=0.3, noise_scale=0.2, seed=seed)
    loss = sum(weight * term for weight, term in zip(WEIGHTS, terms[:4], strict=True))
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]
