"""The operators: documented wrappers over the compiled kernels. All are differentiable where that means something."""

from __future__ import annotations

from ans_fast.ops._backend import backend
from ans_fast.ops._library import build_info
from ans_fast.ops.ans_terms import ans_terms
from ans_fast.ops.gru_states import gru_states
from ans_fast.ops.hardest_negatives import hardest_negatives
from ans_fast.ops.noise import ans_noise
from ans_fast.ops.propagate import propagate, propagate_mean
from ans_fast.ops.sample_negatives import sample_negatives

__all__ = [
    "ans_noise",
    "ans_terms",
    "backend",
    "build_info",
    "gru_states",
    "hardest_negatives",
    "propagate",
    "propagate_mean",
    "sample_negatives",
]
