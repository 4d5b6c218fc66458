"""The operators: documented wrappers over the compiled kernels. All are differentiable where that means something.

They run on torch's threads, which a fork does not copy: a process forked after an operator has run on several threads
waits for ever in its first one, as in most of torch. Start processes by "spawn", as in
`torch.multiprocessing.get_context("spawn")` or `DataLoader(…, multiprocessing_context="spawn")`, or fork before.
"""

from __future__ import annotations

from ans_fast.ops._backend import backend
from ans_fast.ops._library import build_info
from ans_fast.ops.ans_terms import ans_terms
from ans_fast.ops.candidate_scores import candidate_scores
from ans_fast.ops.distinct_ids import distinct_ids
from ans_fast.ops.gru_states import gru_states
from ans_fast.ops.hardest_negatives import hardest_negatives
from ans_fast.ops.log_sum_exp import log_sum_exp
from ans_fast.ops.noise import ans_noise
from ans_fast.ops.propagate import propagate, propagate_mean
from ans_fast.ops.sample_negatives import sample_negatives
from ans_fast.ops.top_k_bpr import top_k_bpr

__all__ = [
    "ans_noise",
    "ans_terms",
    "backend",
    "build_info",
    "candidate_scores",
    "distinct_ids",
    "gru_states",
    "hardest_negatives",
    "log_sum_exp",
    "propagate",
    "propagate_mean",
    "sample_negatives",
    "top_k_bpr",
]
