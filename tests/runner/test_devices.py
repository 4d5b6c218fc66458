"""Every model in every mode on a device that is not the CPU: nothing is forgotten there, the results are the same."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ans_fast import BipartiteGraph, ops
from ans_fast.data import Dataset, Events
from ans_fast.data.dataset import TopKSplit
from ans_fast.models import BPRMF, MODULES, by_name
from ans_fast.runner import main
from ans_fast.runner.evaluate import make_evaluator
from tests.elsewhere import ELSEWHERE, elsewhere

COMMON = "--path ../data --batch_size 128 --topk 5 --early_stop 0 --save_final_results 1"
TOP, LISTS, LABELS = "--dataset top", "--dataset shown --model_mode Impression", "--dataset shown --model_mode CTR"
RUNS = (
    [f"{TOP} --model_name {name}" for name in MODULES if name != "POP"]
    + [f"{TOP} --model_name ANS --base_model {base}" for base in ("NGCF", "SGL")]
    + [f"{TOP} --model_name LightGCN --negative_sampling {name}" for name in ("popularity", "DNS", "MixGCF", "DENS")]
    + [f"{mode} --model_name {name}" for mode in (LISTS, LABELS) for name in ("ANS", "GRU4Rec")]
    + ["--dataset all --rank_by row --model_name ANS", "--dataset all --rank_by user --model_name SLRCPlus"]
)
MADE_ON_THE_CPU = {
    "GRU4Rec": {"aten.lift_fresh.default"},  # the sizes of a packed sequence, which lie there
    "SGL": {"aten.rand.default"},  # who is left out of an epoch's graphs, the same on every device
}


def outcome(folder: str, flags: str, *parts: str) -> tuple[list[float], dict[str, Tensor], int]:
    """The losses and weights of a run, here in parts, and how many rows of predictions it wrote."""
    files = f"--log_file {folder}/log.txt --model_path {folder}/model.pt"
    for more in parts:
        assert main.run(f"{COMMON} {files} {flags} {more}".split()) == 0
    results = json.loads(next(Path(folder).rglob("results.json")).read_text())
    rows = sum(path.read_text().count("\n") for path in Path(folder).rglob("*.csv"))
    weights = torch.load(f"{folder}/model.pt", weights_only=True)["weights"]
    return [epoch["loss"] for epoch in results["epochs"]], weights, rows


def watch(monkeypatch: pytest.MonkeyPatch, kind: type, made: list[str]) -> set[str]:
    """Gathers what a model's training and scoring make on the CPU."""
    seen: set[str] = set()

    def watched(function: Callable) -> Callable:
        def call(*args: Any) -> Any:
            before = len(made)
            result = function(*args)
            seen.update(made[before:])
            return result

        return call

    for name in ("draw", "loss", "precompute", "score"):
        monkeypatch.setattr(kind, name, watched(getattr(kind, name)))
    return seen


@pytest.mark.parametrize("flags", RUNS, ids=lambda flags: flags.replace("--", ""))
def test_runs_elsewhere_as_on_the_cpu(work: Path, monkeypatch, flags):
    name, *base = flags.split("--model_name ")[1].split()
    with ops.backend("reference"):
        losses, weights, rows = outcome("here", flags, "--epoch 2")
        monkeypatch.setattr(main, "device_of", lambda *_: ELSEWHERE)
        with elsewhere() as log:
            seen = watch(monkeypatch, by_name(name), log.made_here)
            losses_there, weights_there, rows_there = outcome("there", flags, "--epoch 1", "--epoch 2 --load 1")
    assert losses_there == pytest.approx(losses, rel=1e-5)
    torch.testing.assert_close(weights_there, weights, rtol=1e-3, atol=1e-4)
    assert rows_there == rows > 90
    assert seen == MADE_ON_THE_CPU.get(base[-1] if base else name, set())


@pytest.mark.gpu
@pytest.mark.parametrize("flags", RUNS, ids=lambda flags: flags.replace("--", ""))
def test_runs_on_a_gpu_as_on_the_cpu(work: Path, monkeypatch, flags):
    found = []
    for device in ("cpu", "cuda"):
        monkeypatch.setattr(main, "device_of", lambda *_, place=device: torch.device(place))
        found.append(outcome(device, flags, "--epoch 1", "--epoch 2 --load 1"))
    (losses, weights, rows), (losses_there, weights_there, rows_there) = found
    assert losses_there == pytest.approx(losses, rel=1e-4)
    torch.testing.assert_close(weights_there, weights, rtol=1e-2, atol=1e-3)
    assert rows_there == rows


@pytest.mark.parametrize("rank_by", ["row", "user"])
def test_ranking_waits_for_the_device_once_and_not_in_each_batch(rank_by):
    clicks = Events(np.arange(30) % 7 + 1, np.arange(30) % 11 + 1, np.arange(30.0))
    splits = [TopKSplit(*(array[part] for array in vars(clicks).values())) for part in (slice(20), slice(9, 30))]
    data = Dataset("made", "TopK", 8, 12, clicks, clicks, splits[0], splits[1], splits[1], Path("nowhere"))
    graph = BipartiteGraph(splits[0].users, splits[0].items, 8, 12)
    waits = []
    for batch_size in (1, 100):
        with elsewhere() as log, ops.backend("reference"):
            model = BPRMF(graph, emb_size=4, first_item=1).to_device(ELSEWHERE)
            args = Namespace(eval_batch_size=batch_size, rank_by=rank_by, test_all=0)
            evaluator, state = make_evaluator(model, data, "test", args), model.precompute()
            log.waits.clear()
            evaluator.evaluate(state, ["NDCG"], [2, 5])
        waits.append(log.waits)
    assert waits[0] == waits[1] == ["aten._local_scalar_dense.default"] * 2  # the two results
