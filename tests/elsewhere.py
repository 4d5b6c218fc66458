"""A device that is not the CPU, made of the CPU's memory: what a GPU would refuse fails here, without one.

Its tensors say that they lie on `lazy`, hold real values, and compute as the CPU does. Reading a value, data-dependent
shapes and moves work as on a GPU; an operator whose tensors lie in two places is an error. Its random numbers are not
the CPU's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE = torch.device("lazy")  # one for which torch needs no driver; no kernel of its own ever runs
BETWEEN = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}  # what may see both places
SEEDED = "ans_fast::"  # operators that take a seed of the CPU's


class Elsewhere(Tensor):
    """A tensor of that device; `here` holds its values."""

    @staticmethod
    def __new__(cls, here: Tensor) -> Elsewhere:
        strided = here.layout == torch.strided
        places = {"strides": here.stride(), "storage_offset": here.storage_offset()} if strided else {}
        made = Tensor._make_wrapper_subclass(
            cls, here.size(), dtype=here.dtype, layout=here.layout, device=ELSEWHERE, **places
        )
        made.here = here
        return made

    def __repr__(self) -> str:
        return f"Elsewhere({self.here})"

    def tolist(self) -> Any:
        return self.here.tolist()

    def __reduce_ex__(self, protocol: int) -> Any:
        """Files hold the values, as those of a GPU's tensors do."""
        return self.here.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, function: Any, _: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(function, args, kwargs or {})


class Log(TorchDispatchMode):
    """made_here: the operators, as they come, that make tensors on the CPU. waits: those that wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.made_here: list[str] = []
        self.waits: list[str] = []

    def __torch_dispatch__(self, function: Any, _: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = _run(function, args, kwargs or {})
        if _waits(function, args, kwargs or {}):
            self.waits.append(str(function))
        makes = not any(isinstance(x, Tensor) for x in tree_leaves((args, kwargs)))
        if (
            (makes or function == torch.ops.aten.lift_fresh.default)
            and isinstance(out, Tensor)
            and not isinstance(out, Elsewhere)
        ):
            self.made_here.append(str(function))
        return out


@contextmanager
def elsewhere() -> Iterator[Log]:
    """Within the block ELSEWHERE is a device."""
    mode = Log()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(values, device=…) makes them on the CPU and moves them
    try:
        with mode:
            yield mode
    finally:
        torch._C._set_only_lift_cpu_tensors(False)


def _run(function: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    there = any(isinstance(x, Elsewhere) for x in tensors)
    strangers = [x for x in tensors if there and x.dim() and not isinstance(x, Elsewhere)]
    if strangers and function not in BETWEEN and not (SEEDED in str(function) and strangers[0].numel() == 1):
        raise RuntimeError(f"{function}: tensors lie on the CPU and on {ELSEWHERE}")
    device = kwargs.get("device")
    if device is not None:
        there, kwargs = torch.device(device) == ELSEWHERE, {**kwargs, "device": torch.device("cpu")}
    with _other_generator() if there and torch.Tag.nondeterministic_seeded in function.tags else nullcontext():
        out = function(*tree_map(_here, args), **tree_map(_here, kwargs))
    if not there:
        return out
    out = tree_map(lambda x: Elsewhere(x) if isinstance(x, Tensor) else x, out)
    return return_and_correct_aliasing(function, args, kwargs, out) if tensors else out


def _waits(function: Any, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether a value of the device decides what Python gets: a number, a copy on the CPU, or a tensor's shape."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    if not any(isinstance(x, Elsewhere) for x in tensors):
        return False
    if function == torch.ops.aten.repeat_interleave.Tensor:
        return kwargs.get("output_size") is None
    if function == torch.ops.aten._to_copy.default:
        return "device" in kwargs and torch.device(kwargs["device"]) != ELSEWHERE
    if function in (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default):
        return any(x.dtype == torch.bool for x in tree_leaves(args[1]) if isinstance(x, Tensor))
    return bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(function.tags))


@contextmanager
def _other_generator() -> Iterator[None]:
    state = torch.get_rng_state()
    torch.manual_seed(0)
    try:
        yield
    finally:
        torch.set_rng_state(state)


def _here(value: Any) -> Any:
    return value.here if isinstance(value, Elsewhere) else value
