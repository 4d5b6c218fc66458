"""Epochs: what `fit` and the command line's runner share."""

from __future__ import annotations

import hashlib
import math
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
    from ans_fast.data.interactions import Interactions
    from ans_fast.graph import BipartiteGraph
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
    epochs: int = 50,
    batch_size: int = 2048,
    lr: float = 1e-3,
    l2: float = 0.0,
    optimizer: str = "Adam",
    progress: bool = False,
    capture: bool = True,
    validation: Interactions | BipartiteGraph | None = None,
    metric: str = "NDCG@20",
    early_stop: int = 10,
) -> list[float]:
    """Trains on the graph's clicks (TopK mode). torch.manual_seed makes it repeatable. In a program whose processes
    have joined a torch.distributed group each takes a share of every batch: all must have the same model and seed.

    Args:
        epochs: passes over the clicks. batch_size: clicks a step. lr, l2: learning rate and weight decay.
        optimizer: "Adam", "SGD", "Adagrad" or "Adadelta". progress: show a bar on stderr.
        capture: on a GPU record a step once and replay it as a CUDA graph, if the model `captures`.
        validation: later clicks; the model ends with the weights of the epoch whose `evaluate` on them has the largest
        metric. early_stop: epochs without a larger one after which training ends; 0: never.

    Returns:
        The mean loss of each epoch; none for a model without parameters (POP).

    Raises:
        UserError: the model is in another mode, the graph has no clicks, the loss became NaN or infinite, or processes
            of a group differ.
    """
    if model.mode.labelled:
        raise UserError(f"fit trains in TopK mode, this model is in {model.mode.name} mode: use python -m ans_fast.run")
    graph = model.graph
    if not graph.n_edges:
        raise UserError(f"fit learns from clicks, and {graph} has none")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return []
    rows = Rows(*graph.clicks())
    group = distributed.current()
    random = hashlib.blake2b(torch.get_rng_state().numpy().tobytes(), digest_size=8).hexdigest()
    group.agree({"model": model.name, "graph": str(graph), "torch's random state": random})
    step = make_step(model, make_optimizer(model, optimizer, lr, l2), group, capture)
    history: list[float] = []
    best, best_epoch, weights = -math.inf, 0, None
    for epoch in _numbers(epochs, model.name, progress):
        try:
            history.append(train_epoch(step, rows, batch_size))
        except NotFinite as error:
            raise UserError(f"loss is not finite in epoch {epoch}, {error.told}: lower lr") from None
        if validation is None:
            continue
        value = model.evaluate(validation, [metric])[metric]
        if value > best:
            best, best_epoch = value, epoch
            weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        elif early_stop and epoch - best_epoch >= early_stop:
            break
    if weights is not None:
        model.load_state_dict(weights)
    return history


def _numbers(epochs: int, title: str, progress: bool) -> Iterable[int]:
    """1 … epochs, with a bar on stderr if progress is to be seen."""
    if not progress:
        return range(1, epochs + 1)
    from tqdm import tqdm  # takes longer to import than many a model to train

    return tqdm(range(1, epochs + 1), desc=title, unit="epoch")
