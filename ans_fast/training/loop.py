"""Epochs: what `fit` and the command line's runner share."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ans_fast import distributed
from ans_fast.errors import UserError
from ans_fast.training.batches import Rows, shuffled
from ans_fast.training.choose import make_step
from ans_fast.training.collapse import collapse
from ans_fast.training.heap import keep_freed_memory
from ans_fast.training.optimizer import make_optimizer
from ans_fast.training.schedule import Schedule
from ans_fast.training.step import Step

if TYPE_CHECKING:
    from ans_fast.data.interactions import Interactions
    from ans_fast.graph import BipartiteGraph
    from ans_fast.models.base import Recommender

CHECK_EVERY = {"cpu": 1}  # batches between looks at the loss
CHECK_EVERY_ELSEWHERE = 64  # where a look waits for all that a device has queued, or for other processes


class NotFinite(ArithmeticError):
    """A loss became NaN or infinite. batch counts from 1; terms are the loss and its parts there."""

    def __init__(self, batch: int, terms: dict[str, float]):
        super().__init__(f"loss is not finite in batch {batch}")
        self.batch, self.terms = batch, terms

    @property
    def told(self) -> str:
        """Where, and which part."""
        return f"batch {self.batch} ({', '.join(f'{name} {value:.4g}' for name, value in self.terms.items())})"


class Epoch(NamedTuple):
    """What a callback of `fit` is told.

    number: from 1. losses: means over the batches of the loss, by "loss", and of its parts by name. seconds: of
    training. validation: the metric by its name; None where there is no validation.
    """

    number: int
    losses: dict[str, float]
    seconds: float
    validation: dict[str, float] | None


Callback = Callable[[Epoch], "bool | None"]


def train_epoch(
    step: Step, rows: Rows, batch_size: int, on_batch: Callable[[], object] = lambda: None
) -> dict[str, float]:
    """One pass over `rows` (on the model's device) in an order from torch's CPU generator: the batches' means of the
    "loss" and of its parts by name.

    Raises NotFinite; parameters may be spoilt by then.
    """
    keep_freed_memory()
    step.model.train()
    step.model.begin_epoch()
    every = CHECK_EVERY.get(rows.users.device.type if step.alone else "", CHECK_EVERY_ELSEWHERE)
    losses: list[Tensor] = []  # [n, T] of each look
    waiting: list[Tensor] = []  # for the next look
    n_checked = 0
    for values in step.epoch(shuffled(rows), batch_size):
        waiting.append(values)
        if len(waiting) == every:
            losses.append(_finite(step, waiting, n_checked))
            n_checked, waiting = n_checked + every, []
        on_batch()
    if waiting:
        losses.append(_finite(step, waiting, n_checked))
    return dict(zip(step.names, torch.cat(losses).double().mean(0).tolist(), strict=True))


def _finite(step: Step, waiting: list[Tensor], n_before: int) -> Tensor:
    """The losses and their parts of batches [n, T], of what steps gave. Raises NotFinite for the first that is not, of
    which n_before batches more come before these."""
    values = step.of_batches(torch.stack(waiting))
    if math.isfinite(values[:, 0].sum().item()):
        return values
    for at, batch in enumerate(values.tolist()):
        if not math.isfinite(batch[0]):
            raise NotFinite(n_before + at + 1, dict(zip(step.names, batch, strict=True)))
    return values


def fit(
    model: Recommender,
    epochs: int = Schedule.epoch.default,
    batch_size: int = Schedule.batch_size.default,
    lr: float = Schedule.lr.default,
    l2: float | None = None,
    optimizer: str = Schedule.optimizer.default,
    progress: bool = False,
    capture: bool = True,
    validation: Interactions | BipartiteGraph | None = None,
    metric: str = "NDCG@20",
    early_stop: int = Schedule.early_stop.default,
    callbacks: Sequence[Callback] = (),
) -> list[float]:
    """Trains on the graph's clicks (TopK mode). torch.manual_seed makes it repeatable. In a program whose processes
    have joined a torch.distributed group each takes a share of every batch: all must have the same model and seed.

    A warning tells when the embeddings have collapsed.

    Args:
        epochs: passes over the clicks. batch_size: clicks a step. lr: learning rate.
        l2: weight decay; None: the model's own default, which is 1e-5 for ANS and 0 for the others.
        optimizer: "Adam", "SGD", "Adagrad" or "Adadelta". progress: show a bar on stderr.
        capture: on a GPU record a step once and replay it as a CUDA graph, if the model `captures`.
        validation: later clicks; the model ends with the weights of the epoch whose `evaluate` on them has the largest
        metric. early_stop: epochs without a larger one after which training ends; 0: never.
        callbacks: called in turn after each epoch with an `Epoch`; one that returns True ends training after it.

    Returns:
        The mean loss of each epoch; none for a model without parameters (POP).

    Raises:
        UserError: an argument is out of range, the model is in another mode, the graph has no clicks, the loss became
            NaN or infinite, or processes of a group differ.
    """
    if model.mode.labelled:
        raise UserError(f"fit trains in TopK mode, this model is in {model.mode.name} mode: use python -m ans_fast.run")
    l2 = model.DEFAULTS.get("l2", Schedule.l2.default) if l2 is None else l2
    _check(model, epoch=epochs, batch_size=batch_size, lr=lr, l2=l2, optimizer=optimizer, early_stop=early_stop)
    graph = model.graph
    if not graph.n_edges:
        raise UserError(f"fit learns from clicks, and {graph} has none")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return []
    evaluate = None if validation is None else model.evaluation(validation, [metric])
    rows = model.rows_of_clicks()
    group = distributed.current()
    random = hashlib.blake2b(torch.get_rng_state().numpy().tobytes(), digest_size=8).hexdigest()
    group.agree({"model": model.name, "graph": str(graph), "torch's random state": random})
    step = make_step(model, make_optimizer(model, optimizer, lr, l2), group, capture)
    history: list[float] = []
    best = Best()
    first, warned = model.spread(model.precompute()), False
    for number in _numbers(epochs, model.name, progress):
        began = perf_counter()
        try:
            losses = train_epoch(step, rows, batch_size)
        except NotFinite as error:
            raise UserError(f"loss is not finite in epoch {number}, {error.told}: lower lr") from None
        seconds = perf_counter() - began
        history.append(losses["loss"])
        if not warned and (told := collapse(model, model.precompute(), first, number)):
            warnings.warn(told, stacklevel=2)
            warned = True
        result = None
        if evaluate is not None:
            result = group.of_leader(evaluate())
            best.see(number, result[metric], model)
        epoch = Epoch(number, losses, seconds, result)
        ends = [bool(callback(epoch)) for callback in callbacks]
        stale = evaluate is not None and 0 < early_stop <= number - best.epoch
        if group.of_leader(stale or any(ends)):
            break
    if best.weights:
        model.load_state_dict(best.weights)
    return history


class Best:
    """The first epoch with the largest value of a metric, and its weights; 0 and none before there is one."""

    def __init__(self) -> None:
        self.epoch, self.value = 0, -math.inf
        self.weights: dict[str, Tensor] = {}

    def see(self, epoch: int, value: float, model: Recommender) -> None:
        """Takes over the model's weights where they are the best so far."""
        if value > self.value:
            self.epoch, self.value = epoch, value
            self.weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _check(model: Recommender, **given: Any) -> None:
    """Raises UserError, naming argument and model, for a value that the option of this name cannot have."""
    for name, value in given.items():
        argument = {"epoch": "epochs"}.get(name, name)
        Schedule.options()[name].kind.taken(f"{argument} of {model.name}.fit", value)


def _numbers(epochs: int, title: str, progress: bool) -> Iterable[int]:
    """1 … epochs, with a bar on stderr if progress is to be seen."""
    if not progress:
        return range(1, epochs + 1)
    from tqdm import tqdm  # takes longer to import than many a model to train

    return tqdm(range(1, epochs + 1), desc=title, unit="epoch")
