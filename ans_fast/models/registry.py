"""Which models there are."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from ans_fast.errors import UserError

if TYPE_CHECKING:
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


def by_name(name: str) -> type[Recommender]:
    """The model class. Raises UserError with the nearest name."""
    if name not in MODULES:
        close = difflib.get_close_matches(name.lower(), [known.lower() for known in MODULES], n=1, cutoff=0.3)
        hint = next((f"; did you mean {known}?" for known in MODULES if [known.lower()] == close), "")
        raise UserError(f"unknown model {name!r}: choose from {', '.join(sorted(MODULES))}{hint}")
    return getattr(importlib.import_module(f"ans_fast.models.{MODULES[name]}"), name)
