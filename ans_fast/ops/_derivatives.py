"""Derivatives that an operator lacks are errors: torch would take them for zeros without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch._C import _functorch
from torch.autograd import forward_ad

INSTEAD = "use ans_fast.backend('reference')"


def differentiable_once(operator: str, backward: str) -> None:
    """Differentiating the operator `backward`, which gives `operator`'s gradients, raises NotImplementedError."""

    def refuse(ctx: Any, *grads: Any) -> NoReturn:
        raise NotImplementedError(
            f"{operator} has first derivatives alone, got a backward pass through them: {INSTEAD}"
        )

    torch.library.register_autograd(f"ans_fast::{backward}", refuse)


def refuse_tangents(operator: str, *tensors: Tensor) -> None:
    """NotImplementedError where forward-mode differentiation asks for a derivative by one of the tensors."""
    depth = _depth()
    if depth > 1 or (depth == 1 and any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors)):
        raise NotImplementedError(f"{operator} has no forward-mode derivative: {INSTEAD}, or reverse mode")


def wanted(gradients: Iterable[Tensor], of: Iterable[Tensor], needed: Iterable[bool]) -> list[Tensor | None]:
    """The gradients that autograd needs, each in the dtype of the tensor that it is of, and None for the others. `of`
    and `needed` may have more elements, for arguments without a gradient."""
    triples = zip(gradients, of, needed, strict=False)
    return [gradient.to(tensor.dtype) if is_needed else None for gradient, tensor, is_needed in triples]


def linear(operator: str, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """function(x), and where x has a tangent, the same function of it. NotImplementedError for tangents of tangents."""
    depth = _depth()
    if depth > 1:
        raise NotImplementedError(f"{operator} has no forward-mode derivatives of such derivatives: {INSTEAD}")
    primal, tangent = forward_ad.unpack_dual(x) if depth == 1 else (x, None)
    if tangent is None:
        return function(x)
    return forward_ad.make_dual(function(primal), function(tangent))


def _depth() -> int:
    """How many forward-mode derivatives are being taken, one inside the other; only the innermost one's tangents are
    in sight. torch.compile keeps the answer it got while tracing."""
    if forward_ad._current_level < 0:
        return 0
    levels = _functorch.get_interpreter_stack() or []
    return max(1, sum(level.key() == _functorch.TransformType.Jvp for level in levels))


_depth._dynamo_marked_constant = True  # as in _backend.py
