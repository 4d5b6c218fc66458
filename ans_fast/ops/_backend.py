"""Which implementation a call uses: the compiled kernels, or the reference in plain PyTorch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ans_fast.errors import UserError

BACKENDS = ("fused", "reference")


def _named(name: str, where: str) -> str:
    if name not in BACKENDS:
        raise UserError(f"{where} must be one of {', '.join(BACKENDS)}, got {name!r}")
    return name


_DEFAULT = _named(os.environ.get("ANS_FAST_BACKEND") or "fused", "ANS_FAST_BACKEND")
_choice = ContextVar("ans_fast_backend", default=_DEFAULT)


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Within the block, and in this thread only, operators run on the backend `name`.

    "fused": the compiled kernels of the tensors' device (default). "reference": plain PyTorch, on any device.
    The environment variable ANS_FAST_BACKEND gives the default. Raises UserError for another name.
    """
    token = _choice.set(_named(name, "backend"))
    try:
        yield
    finally:
        _choice.reset(token)


def use_reference() -> bool:
    """Whether calls of this context run on the reference. torch.compile keeps the answer it got while tracing."""
    return _choice.get() == "reference"


# As torch.compiler.assume_constant_result does; calling it would import torch's compiler, a second at every start.
use_reference._dynamo_marked_constant = True
