"""Augmented Negative Sampling on LightGCN, fused into CPU SIMD and CUDA kernels."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["BipartiteGraph", "UserError", "backend", "build_info", "data", "models", "ops", "reference", "runner"]

_HOMES = {"BipartiteGraph": "graph", "UserError": "errors", "backend": "ops", "build_info": "ops"}


def __getattr__(name: str) -> Any:
    """Imports everything at its first use: torch takes a second, and Ctrl-C meanwhile is the command line's to tell."""
    if name == "__version__":
        return __getattr__("build_info")()["version"]
    if name in _HOMES:
        return getattr(importlib.import_module(f"ans_fast.{_HOMES[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"ans_fast.{name}")
    raise AttributeError(f"module 'ans_fast' has no attribute {name!r}")
