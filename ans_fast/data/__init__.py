"""Reading data sets: `load(path, name)` reads ReChorus's files and writes the synthetic `demo` set on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ans_fast.data.dataset import Dataset, Events, ImpressionLists, Labelled, TopKSplit
    from ans_fast.data.ids import Ids
    from ans_fast.data.loading import MODES, fingerprint, load

__all__ = ["MODES", "Dataset", "Events", "Ids", "ImpressionLists", "Labelled", "TopKSplit", "fingerprint", "load"]


def __getattr__(name: str) -> Any:
    """Imports at the first use, as `ans_fast` does: NumPy comes after the command line is there to tell of Ctrl-C."""
    if name not in __all__:
        raise AttributeError(f"module 'ans_fast.data' has no attribute {name!r}")
    home = {"Ids": "ids", **dict.fromkeys(("MODES", "fingerprint", "load"), "loading")}.get(name, "dataset")
    return getattr(importlib.import_module(f"ans_fast.data.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
