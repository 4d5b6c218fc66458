"""One epoch of any model: shuffle, slice, step. What `fit` and the command line's runner share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ans_fast.errors import UserError
from ans_fast.models.adam import Adam
from ans_fast.models.files import check_tensors
from ans_fast.models.rows import Rows

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender

Optimizer = Adam | torch.optim.Optimizer
STATE = {  # what each optimizer keeps of a parameter, in its shape, beside the count of steps
    "Adam": ("exp_avg", "exp_avg_sq"),
    "SGD": (),
    "Adagrad": ("sum",),
    "Adadelta": ("square_avg", "acc_delta"),
}
OPTIMIZERS = tuple(STATE)
CHECK_EVERY = {"cpu": 1}  # batches between looks at the loss; on other devices a look waits for all that is queued
CHECK_EVERY_ELSEWHERE = 64


class NotFinite(ArithmeticError):
    """A loss became NaN or infinite. batch counts from 1; terms are the loss and its parts there."""

    def __init__(self, batch: int, terms: dict[str, float]):
        super().__init__(f"loss is not finite in batch {batch}")
        self.batch, self.terms = batch, terms


def make_optimizer(model: Recommender, name: str, lr: float, l2: float) -> Optimizer:
    """The optimizer of OPTIMIZERS called `name`; weight decay l2 on what the model says."""
    if name not in OPTIMIZERS:
        raise UserError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {name!r}")
    if name == "Adam":
        return Adam(model.parameter_groups(l2), lr)
    fused = {} if name == "Adadelta" else {"fused": True}
    return getattr(torch.optim, name)(model.parameter_groups(l2), lr=lr, **fused)


def load_optimizer(optimizer: Optimizer, state: dict[int, dict[str, Any]], path: Path) -> None:
    """Takes over the "state" of a state dict read from `path`; the optimizer's own settings stay. Raises UserError,
    naming file and entry, where an entry is not what this optimizer keeps of these parameters."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    names = STATE[type(optimizer).__name__]
    for number, saved in state.items():
        if number not in range(len(parameters)):
            raise UserError(f"{path}: optimizer.{number} is of no parameter, the model has {len(parameters)}")
        step = {"step": torch.zeros(())} if names else {}
        check_tensors(saved, {**step, **dict.fromkeys(names, parameters[number])}, path, f"optimizer.{number}")
    whole = {n: {name: value.contiguous() for name, value in saved.items()} for n, saved in state.items()}
    optimizer.load_state_dict({"state": whole, "param_groups": optimizer.state_dict()["param_groups"]})


def train_epoch(
    model: Recommender,
    optimizer: Optimizer,
    rows: Rows,
    batch_size: int,
    on_batch: Callable[[], object] = lambda: None,
) -> float:
    """One pass over `rows` (on the model's device) in an order from torch's CPU generator: the batches' mean loss.

    Raises NotFinite; parameters may be spoilt by then.
    """
    model.train()
    order = torch.randperm(len(rows)).to(rows.users.device)
    rows = rows.take(order)
    every = CHECK_EVERY.get(rows.users.device.type, CHECK_EVERY_ELSEWHERE)
    losses: list[Tensor] = []
    for start in range(0, len(rows), batch_size):
        optimizer.zero_grad()
        loss = model.loss(rows[start : start + batch_size])
        loss.backward()
        optimizer.step()
        losses.append(torch.stack([loss.detach(), *model.terms.values()]))
        if len(losses) % every == 0:
            _check(losses[-every:], len(losses), list(model.terms))
        on_batch()
    _check(losses[-(len(losses) % every) :] if len(losses) % every else [], len(losses), list(model.terms))
    return torch.stack(losses)[:, 0].double().mean().item()


def _check(losses: list[Tensor], n_batches: int, names: list[str]) -> None:
    if not losses:
        return
    values = torch.stack(losses)
    broken = (~values[:, 0].isfinite()).nonzero()
    if len(broken):
        at = int(broken[0])
        terms = dict(zip(["loss", *names], values[at].tolist(), strict=True))
        raise NotFinite(n_batches - len(losses) + at + 1, terms)
