"""Augmented Negative Sampling on LightGCN, fused into CPU SIMD and CUDA kernels."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "BipartiteGraph": "graph",
    "Interactions": "data.interactions",
    "UserError": "errors",
    "backend": "ops",
    "build_info": "ops",
}
__all__ = ["BipartiteGraph", "Interactions", "UserError", "backend", "build_info"]
__all__ += ["data", "models", "ops", "reference", "runner"]


def __getattr__(name: str) -> Any:
    """Imports everything at its first use: torch takes a second, and Ctrl-C meanwhile is the command line's to tell."""
    if name == "__version__":
        return __getattr__("build_info")()["version"]
    if name in _HOMES:
        return getattr(importlib.import_module(f"ans_fast.{_HOMES[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"ans_fast.{name}")
    raise AttributeError(f"module 'ans_fast' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), "__version__", *__all__])
