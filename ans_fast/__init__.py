"""Augmented Negative Sampling on LightGCN, fused into CPU SIMD and CUDA kernels."""

from __future__ import annotations

import importlib
from typing import Any

from ans_fast import ops
from ans_fast.errors import UserError
from ans_fast.graph import BipartiteGraph
from ans_fast.ops import backend, build_info

__all__ = ["BipartiteGraph", "UserError", "backend", "build_info", "data", "models", "ops", "reference", "runner"]
__version__ = build_info()["version"]


def __getattr__(name: str) -> Any:
    """Imports the bigger parts at their first use."""
    if name in ("data", "models", "reference", "runner"):
        return importlib.import_module(f"ans_fast.{name}")
    raise AttributeError(f"module 'ans_fast' has no attribute {name!r}")
