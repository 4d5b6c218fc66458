"""A step that several processes take together, each with its share of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ans_fast.distributed import Processes
from ans_fast.errors import UserError
from ans_fast.nn.held_state import held_tables
from ans_fast.training.batches import Part, Rows
from ans_fast.training.optimizer import Optimizer
from ans_fast.training.step import Step

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender


class SharedStep(Step):
    """A step whose result is that of one process, to rounding.

    Every process has the same batches and draws the same for them; its loss is that of its share of the rows. A loss
    is a mean over rows, so that of the whole batch is the mean of the shares', weighed by their rows. Gradients and
    losses are added up in one all-reduce; those of tables that are held in columns come by columns.
    """

    def __init__(self, model: Recommender, optimizer: Optimizer, group: Processes):
        super().__init__(model, optimizer)
        if model.unshared:
            raise UserError(f"{model.unshared}, which processes cannot share: start it without torchrun")
        self.group = group
        self.tables = held_tables(model)
        held = {table.weight for table in self.tables}
        self.parameters = [p for p in model.parameters() if p.requires_grad and p not in held]

    def __call__(self, batch: Rows, seeds: Sequence[Tensor]) -> Tensor:
        self.optimizer.zero_grad()
        batch = self.model.draw(batch, seeds)
        shares = [Part(batch, *bounds) for bounds in pairwise(self.group.bounds(len(batch)))]
        if self.tables:
            nodes = [self._nodes_of(share.rows) for share in shares]
            for table in self.tables:
                table.columns.look_at(nodes)
        own = shares[self.group.rank]
        weight = own.weight
        loss, parts = self.model.loss(own.rows, seeds)
        (loss * weight).backward()
        self.names = ("loss", *parts)
        values = weight * torch.stack([value.detach() for value in (loss, *parts.values())])
        self._add_up(values)
        self.optimizer.step()
        return values

    def _nodes_of(self, rows: Rows) -> Tensor:
        """The distinct nodes that rows look at, ascending."""
        n_users = self.model.graph.n_users
        items = (ids for ids in (rows.items, rows.neg_items) if ids is not None)
        return torch.cat([rows.users, *(ids.flatten() + n_users for ids in items)]).unique()

    def _add_up(self, values: Tensor) -> None:
        """Replaces the parameters' gradients, and the values, by their sums over the group."""
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        tensors = [*(parameter.grad for parameter in self.parameters), values]
        sums = self.group.sum_(torch.cat([tensor.flatten() for tensor in tensors]))
        for tensor, total in zip(tensors, sums.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))
