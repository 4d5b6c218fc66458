"""Epochs: what `fit` and the command line's runner share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ans_fast import distributed
from ans_fast.errors import UserError
from ans_fast.training.batches import Rows, shuffled
from ans_fast.training.choose import make_step
from ans_fast.training.optimizer import make_optimizer
from ans_fast.training.step import Step

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender

CHECK_EVERY = {"cpu": 1}  # batches between looks at the loss; on other devices a look waits for all that is queued
CHECK_EVERY_ELSEWHERE = 64


class NotFinite(ArithmeticError):
    """A loss became NaN or infinite. batch counts from 1; terms are the loss and its parts there."""

    def __init__(self, batch: int, terms: dict[str, float]):
        super().__init__(f"loss is not finite in batch {batch}")
        self.batch, self.terms = batch, terms

    @property
    def told(self) -> str:
        """Where, and which part."""
        return f"batch {self.batch} ({', '.join(f'{name} {value:.4g}' for name, value in self.terms.items())})"


def train_epoch(step: Step, rows: Rows, batch_size: int, on_batch: Callable[[], object] = lambda: None) -> float:
    """One pass over `rows` (on the model's device) in an order from torch's CPU generator: the batches' mean loss.

    Raises NotFinite; parameters may be spoilt by then.
    """
    step.model.train()
    step.model.begin_epoch()
    every = CHECK_EVERY.get(rows.users.device.type, CHECK_EVERY_ELSEWHERE)
    losses: list[Tensor] = []
    checked = 0
    for values in step.epoch(shuffled(rows), batch_size):
        losses.append(values)
        if len(losses) - checked == every:
            _check(losses, checked, step.names)
            checked = len(losses)
        on_batch()
    _check(losses, checked, step.names)
    return torch.stack(losses)[:, 0].double().mean().item()


def _check(losses: list[Tensor], checked: int, names: Sequence[str]) -> None:
    """Raises NotFinite for the first of the losses, after those that are `checked`, that is not finite."""
    if checked == len(losses):
        return
    values = torch.stack(losses[checked:])
    broken = (~values[:, 0].isfinite()).nonzero()
    if len(broken):
        at = int(broken[0])
        raise NotFinite(checked + at + 1, dict(zip(names, values[at].tolist(), strict=True)))


def fit(
    model: Recommender,
    epochs: int,
    batch_size: int,
    lr: float,
    l2: float,
    optimizer: str,
    progress: bool,
    capture: bool,
) -> list[float]:
    """Trains on the clicks of the model's graph: see `Recommender.fit`."""
    graph = model.graph
    if not graph.n_edges:
        raise UserError(f"fit learns from clicks, and {graph} has none")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return []
    rows = Rows(*graph.clicks())
    step = make_step(model, make_optimizer(model, optimizer, lr, l2), distributed.current(), capture)
    history: list[float] = []
    for epoch in _numbers(epochs, model.name, progress):
        try:
            history.append(train_epoch(step, rows, batch_size))
        except NotFinite as error:
            raise UserError(f"loss is not finite in epoch {epoch}, {error.told}: lower lr") from None
    return history


def _numbers(epochs: int, title: str, progress: bool) -> Iterable[int]:
    """1 … epochs, with a bar on stderr if progress is to be seen."""
    if not progress:
        return range(1, epochs + 1)
    from tqdm import tqdm  # takes longer to import than many a model to train

    return tqdm(range(1, epochs + 1), desc=title, unit="epoch")
