"""How parameters are updated: torch's optimizers, and Adam without their weight."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from ans_fast.errors import UserError
from ans_fast.tensor_files import check_tensors

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender


class Adam:
    """torch.optim.Adam(groups, lr, fused=True): the same bits, the same state dicts.

    Making a torch.optim.Optimizer imports torch's compiler, which takes longer than reading most data sets.

    Args:
        groups: dicts of "params", a list of parameters, and "weight_decay".
        lr: the learning rate.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float):
        self.param_groups = [{"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8, **group} for group in groups]
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Drops all gradients."""
        for parameter in parameters_of(self):
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Updates the parameters that have a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            states = [self._state_of(p) for p in parameters]
            adam(
                parameters,
                [p.grad for p in parameters],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                fused=True,
                amsgrad=False,
                maximize=False,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                eps=group["eps"],
                weight_decay=group["weight_decay"],
            )

    def state_dict(self) -> dict[str, Any]:
        """The state of parameters, by their number, and the groups."""
        numbers = {p: number for number, p in enumerate(parameters_of(self))}
        groups = [{**group, "params": [numbers[p] for p in group["params"]]} for group in self.param_groups]
        return {"state": {numbers[p]: state for p, state in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, content: dict[str, Any]) -> None:
        """Takes over a state dict. Raises ValueError where it is of other parameters."""
        parameters, state = parameters_of(self), {}
        for number, saved in content["state"].items():
            if number not in range(len(parameters)):
                raise ValueError("the optimizer's state is of other parameters")
            new = state[parameters[number]] = _new_state(parameters[number])
            for name, value in new.items():
                if saved[name].shape != value.shape:
                    raise ValueError("the optimizer's state is of other parameters")
                value.copy_(saved[name])
        for group, saved in zip(self.param_groups, content["param_groups"], strict=True):
            group |= {name: value for name, value in saved.items() if name in group and name != "params"}
        self.state = state

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        if parameter not in self.state:
            self.state[parameter] = _new_state(parameter)
        return self.state[parameter]


def _new_state(parameter: Tensor) -> dict[str, Tensor]:
    return {
        "step": torch.zeros((), device=parameter.device),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }


Optimizer = Adam | torch.optim.Optimizer
STATE = {  # what each optimizer keeps of a parameter, in its shape, beside the count of steps
    "Adam": ("exp_avg", "exp_avg_sq"),
    "SGD": (),
    "Adagrad": ("sum",),
    "Adadelta": ("square_avg", "acc_delta"),
}
OPTIMIZERS = tuple(STATE)


def make_optimizer(model: Recommender, name: str, lr: float, l2: float) -> Optimizer:
    """The optimizer of OPTIMIZERS called `name`; weight decay l2 on what the model says."""
    groups = parameter_groups(model, l2)
    if name == "Adam":
        return Adam(groups, lr)
    fused = {} if name == "Adadelta" else {"fused": True}
    return getattr(torch.optim, name)(groups, lr=lr, **fused)


def parameter_groups(model: Recommender, l2: float) -> list[dict[str, Any]]:
    """The model's parameters with and without weight decay, for torch.optim."""
    parameters: dict[bool, list[Tensor]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        parameters[model.decays(name)].append(parameter)
    return [{"params": parameters[decays], "weight_decay": decays * l2} for decays in (True, False)]


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """What it updates, in the order by which its state dicts number them."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def load_optimizer(optimizer: Optimizer, state: dict[int, dict[str, Any]], path: Path) -> None:
    """Takes over the "state" of a state dict read from `path`; the optimizer's own settings stay. Raises UserError,
    naming file and entry, where an entry is not what this optimizer keeps of these parameters."""
    parameters = parameters_of(optimizer)
    names = STATE[type(optimizer).__name__]
    if names and parameters and not state:
        raise UserError(f"{path}: optimizer must hold the state of parameters, got none")
    for number, saved in state.items():
        if number not in range(len(parameters)):
            raise UserError(f"{path}: optimizer.{number} is of no parameter, the model has {len(parameters)}")
        step = {"step": torch.zeros(())} if names else {}
        check_tensors(saved, {**step, **dict.fromkeys(names, parameters[number])}, path, f"optimizer.{number}")
    whole = {n: {name: value.contiguous() for name, value in saved.items()} for n, saved in state.items()}
    optimizer.load_state_dict({"state": whole, "param_groups": optimizer.state_dict()["param_groups"]})
