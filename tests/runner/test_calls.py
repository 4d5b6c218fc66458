"""Nothing a row is done by Python: as many calls for many rows as for few, in as many batches."""

from __future__ import annotations

import gc
import sys
from argparse import Namespace
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch

from ans_fast import BipartiteGraph
from ans_fast.data import Dataset, Events, ImpressionLists, Labelled
from ans_fast.data.dataset import TopKSplit
from ans_fast.models import ANS
from ans_fast.runner.evaluate import make_evaluator
from ans_fast.runner.predictions import Names, write_predictions
from ans_fast.training.batches import Rows
from ans_fast.training.loop import train_epoch
from ans_fast.training.optimizer import make_optimizer
from ans_fast.training.step import Step

N_USERS, N_ITEMS = 30, 40


def split_of(mode: str, candidates: bool, n: int) -> Any:
    rng = np.random.default_rng(0)
    users, items, times = rng.integers(1, N_USERS, n), rng.integers(1, N_ITEMS, n), np.arange(n, dtype=float)
    if mode == "CTR":
        return Labelled(users, items, times, (np.arange(n) % 2).astype(np.float32))
    if mode == "Impression":
        return ImpressionLists(
            users, rng.integers(1, N_ITEMS, (n, 5)), 1 + np.arange(n) % 2, 1 + np.arange(n) % 3, times
        )
    return TopKSplit(users, items, times, rng.integers(1, N_ITEMS, (n, 9)) if candidates else None)


def calls(mode: str, rank_by: str, n: int, path: Path) -> Counter[str]:
    """The calls of an epoch, an evaluation and a file of predictions, by Python and from Python, and how often."""
    counted: Counter[str] = Counter()

    def count(frame: FrameType, event: str, function: Any) -> None:
        if event in ("call", "c_call"):
            counted[
                f"{frame.f_code.co_qualname} in {frame.f_code.co_filename}, {getattr(function, '__name__', '')}"
            ] += 1

    rows = [split_of(mode, rank_by == "auto", n) for _ in range(3)]
    clicks = Events(*(np.repeat(np.arange(1, 9), 2), np.tile([1, 2], 8), np.arange(16.0)))
    data = Dataset("made", mode, N_USERS, N_ITEMS, clicks, clicks, *rows, Path("nowhere"))
    graph = BipartiteGraph(clicks.users, clicks.items, N_USERS, N_ITEMS)
    model = ANS(graph, emb_size=4, mode=mode, first_item=1)
    args = Namespace(eval_batch_size=n, rank_by=rank_by, test_all=0)
    evaluator = make_evaluator(model, data, "test", args)
    step = Step(model, make_optimizer(model, "Adam", 0.01, 0.0))
    names = ["AUC", "LOG_LOSS"] if mode == "CTR" else ["NDCG", "HR"]
    for profile in (None, count):  # the first time imports and fills caches
        gc.disable()  # other tests' packages count its runs
        sys.setprofile(profile)
        try:
            train_epoch(step, Rows.of_split(data.train), n // 2)
            state = model.precompute()
            evaluator.evaluate(state, names, [1, 5])
            write_predictions(path, evaluator, state, "\t", Names())
        finally:
            sys.setprofile(None)
            gc.enable()
    return counted


@pytest.mark.parametrize(
    ("mode", "rank_by"), [("TopK", "auto"), ("TopK", "row"), ("TopK", "user"), ("Impression", "auto"), ("CTR", "auto")]
)
def test_calls_do_not_grow_with_rows(mode: str, rank_by: str, tmp_path: Path):
    torch.manual_seed(0)
    few, many = (calls(mode, rank_by, n, tmp_path / "predictions.csv") for n in (200, 1600))
    assert many - few == Counter()
