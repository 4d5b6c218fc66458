"""The models by name: `ans_fast.models.ANS(graph)` or `by_name("ANS")`; `load(path)` reads a saved one of any kind."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import Any

from ans_fast.errors import UserError
from ans_fast.models.base import Recommender

MODULES = {
    "ANS": "ans",
    "AutoCF": "autocf",
    "BPRMF": "bprmf",
    "FPMC": "fpmc",
    "GRU4Rec": "gru4rec",
    "LightGCN": "lightgcn",
    "NeuMF": "neumf",
    "POP": "pop",
    "SLRCPlus": "slrcplus",
}

__all__ = ["MODULES", "Recommender", "by_name", "load", *MODULES]


def by_name(name: str) -> type[Recommender]:
    """The model class. Raises UserError with the nearest name."""
    if name not in MODULES:
        close = difflib.get_close_matches(name.lower(), [known.lower() for known in MODULES], n=1, cutoff=0.3)
        hint = next((f"; did you mean {known}?" for known in MODULES if [known.lower()] == close), "")
        raise UserError(f"unknown model {name!r}: choose from {', '.join(sorted(MODULES))}{hint}")
    return getattr(importlib.import_module(f"ans_fast.models.{MODULES[name]}"), name)


def load(path: str | Path) -> Recommender:
    """The model in a file that `save` or the command line wrote. Raises UserError."""
    return Recommender.load(path)


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return by_name(name)
    raise AttributeError(f"module 'ans_fast.models' has no attribute {name!r}")
