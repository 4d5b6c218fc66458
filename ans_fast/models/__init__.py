"""The models by name: `ans_fast.models.ANS(graph)` or `by_name("ANS")`; `load(path)` reads a saved one of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ans_fast.models.base import Recommender
from ans_fast.models.registry import MODULES, by_name

__all__ = ["MODULES", "Recommender", "by_name", "load", *MODULES]


def load(path: str | Path) -> Recommender:
    """The model in a file that `save` or the command line wrote. Raises UserError."""
    return Recommender.load(path)


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return by_name(name)
    raise AttributeError(f"module 'ans_fast.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
