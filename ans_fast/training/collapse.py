"""Embeddings that collapse: all scores become alike, while the loss may look well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender

COLLAPSED = 0.05  # of the scores' spread before training


def collapse(model: Recommender, state: Any, first: float | None, epoch: int, prefix: str = "") -> str:
    """That scores hardly differ any more, and what to lower, in words; "" where they do.

    state: from model.precompute(), after the epoch. first: the model's `spread` before training. prefix: of the
    arguments' names, -- where they are flags.
    """
    spread = model.spread(state)
    if spread is None or not first or spread >= COLLAPSED * first:
        return ""
    found = f"Embeddings have collapsed by epoch {epoch} (scores differ by {spread:.2g}, at first by {first:.2g})"
    return f"{found}: lower {', then '.join(prefix + name for name in model.collapse_levers)}"
