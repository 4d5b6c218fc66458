"""A step that several processes take together, each with its share of the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor

from ans_fast.distributed import Processes
from ans_fast.nn.columns import Seen
from ans_fast.nn.held_state import held_tables
from ans_fast.ops._seed import draw_seeds
from ans_fast.training.batches import Part, Rows, batches
from ans_fast.training.optimizer import Optimizer
from ans_fast.training.step import Step

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender

T = TypeVar("T")


class Drawn(NamedTuple):
    """What a step knows before it looks at a parameter: this process's share of the batch, the batch's seeds, and what
    the processes look at in tables held in columns; None: there are none."""

    own: Part
    seeds: Sequence[Tensor]
    seen: Seen | None


class SharedStep(Step):
    """A step whose result is that of one process, to rounding.

    Every process has the same batches and draws the same for them; its loss is that of its share of the rows. A loss
    is a mean over rows, so that of the whole batch is the mean of the shares', weighed by their rows. Gradients and
    losses are added up in one all-reduce; those of tables that are held in columns come by columns.
    """

    alone = False

    def __init__(self, model: Recommender, optimizer: Optimizer, group: Processes):
        super().__init__(model, optimizer)
        self.group = group
        self.tables = held_tables(model)
        held = {table.weight for table in self.tables}
        self.parameters = [p for p in model.parameters() if p.requires_grad and p not in held]

    def __call__(self, batch: Rows, seeds: Sequence[Tensor]) -> Tensor:
        return self._take(self._drawn(batch, seeds), lambda: None)[0]

    def epoch(self, rows: Rows, size: int) -> Iterator[Tensor]:
        """As in Step. While gradients are on their way the next batch is drawn."""
        seeds = draw_seeds(-(-len(rows) // size), self.model.seed_count)
        all_drawn = (self._drawn(batch, own.unbind()) for batch, own in zip(batches(rows, size), seeds, strict=True))
        drawn = next(all_drawn, None)
        while drawn:
            values, drawn = self._take(drawn, lambda: next(all_drawn, None))
            yield values

    def _drawn(self, batch: Rows, seeds: Sequence[Tensor]) -> Drawn:
        batch = self.model.draw(batch, seeds)
        shares = [Part(batch, *bounds, self.group) for bounds in pairwise(self.group.bounds(len(batch)))]
        rank, n_nodes = self.group.rank, self.model.graph.n_nodes
        seen = Seen([self._nodes_of(share.rows) for share in shares], n_nodes, rank) if self.tables else None
        return Drawn(shares[rank], seeds, seen)

    def _take(self, drawn: Drawn, meanwhile: Callable[[], T]) -> tuple[Tensor, T]:
        """The step with what was drawn: its values, and what `meanwhile` gives, which is called while the processes
        exchange gradients."""
        self.optimizer.zero_grad()
        for table in self.tables:
            table.columns.look_at(drawn.seen)
        weight = drawn.own.weight
        loss, parts = self.model.loss(drawn.own.rows, drawn.seeds)
        (loss * weight).backward()
        self.names = ("loss", *parts)
        values = weight * torch.stack([value.detach() for value in (loss, *parts.values())])
        finishes = [self._add_up_gradients(), *(table.columns.return_gradients() for table in self.tables)]
        result = meanwhile()
        for finish in finishes:
            finish()
        self.optimizer.step()
        return values, result

    def _nodes_of(self, rows: Rows) -> Tensor:
        """The nodes that rows look at."""
        n_users = self.model.graph.n_users
        return torch.cat([rows.users, *(ids.flatten() + n_users for ids in self.model.items_of(rows))])

    def of_batches(self, values: Tensor) -> Tensor:
        self.group.sum_(values)()
        return values

    def _add_up_gradients(self) -> Callable[[], None]:
        """Begins to add up the gradients of what every process holds as a whole; what is returned puts the sums in
        their places."""
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in self.parameters]
        if not gradients:
            return lambda: None
        sums = torch.cat([gradient.flatten() for gradient in gradients])
        summed = self.group.sum_(sums)

        def finish() -> None:
            summed()
            for gradient, total in zip(gradients, sums.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(total.view_as(gradient))

        return finish
