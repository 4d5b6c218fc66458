"""Runs in groups of processes give what one process gives."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from ans_fast.runner.main import run
from ans_fast.tensor_files import load_tensors

# of the 3,076 rows of `small` the last batch has one, which leaves a process without
FLAGS = "--path data --gpu --random_seed 3 --epoch 2 --batch_size 615 --emb_size 9 --topk 5,10 --lr 0.01".split()
FLAGS.insert(3, "")
SIZES = [int(size) for size in os.environ.get("ANS_FAST_PROCESSES", "2").split(",")]
RUNS = {  # SGD where gradients cancel, so that Adam would divide rounding by rounding
    "GRU4Rec": "--model_name GRU4Rec --hidden_size 6",
    "FPMC, all items": "--model_name FPMC --test_all 1",
    "NeuMF": "--model_name NeuMF --num_neg 2 --dropout 0.3 --layers [8,4] --optimizer SGD --lr 1",
    "SLRCPlus": "--model_name SLRCPlus",
    "BPRMF": "--model_name BPRMF --optimizer Adagrad",
    "LightGCN": "--model_name LightGCN",
    "LightGCN, popular": "--model_name LightGCN --negative_sampling popularity --test_all 1",
    "LightGCN, DNS": "--model_name LightGCN --negative_sampling DNS --n_candidates 5",
    "LightGCN, MixGCF": "--model_name LightGCN --negative_sampling MixGCF --n_candidates 5",
    "BPRMF, DENS": "--model_name BPRMF --negative_sampling DENS --n_candidates 5 --num_neg 2",
    "LightGCN, SSM": "--model_name LightGCN --loss_n SSM --logq 1 --test_all 1",
    "BPRMF, BSL": "--model_name BPRMF --loss_n BSL --n_own 30 --negative_sampling popularity",
    "LightGCN, SL@K": "--model_name LightGCN --loss_n SL@K --slk_every 1 --slk_k 5",
    "BPRMF, DirectAU": "--model_name BPRMF --loss_n DirectAU --uniformity 0.5",
    "ANS, SSM": "--model_name ANS --n_layers 2 --loss_n SSM",
    "LightGCN, bf16": "--model_name LightGCN --precision bf16 --optimizer SGD --lr 1",
    "LightGCN, shared": "--model_name LightGCN --loss_n SL@K --slk_every 1 --n_shared 20 --logq 1 --temperature 0.2",
    "ANS": "--model_name ANS --n_layers 2 --noise_scale 0.5 --reg_weight 0.01",
    "ANS, shared": "--model_name ANS --n_layers 2 --noise_scale 0.5 --loss_n BSL --n_shared 20",
    "ANS, bf16": "--model_name ANS --n_layers 2 --precision bf16 --optimizer SGD --lr 1",
    "ANS over BPRMF": "--model_name BPRMF --negative_sampling ANS --num_neg 3",
    "ANS over NGCF": "--model_name ANS --base_model NGCF --n_layers 1",
    "lists, LightGCN": "--model_name LightGCN --model_mode Impression --main_metric NDCG@5",
    "lists, ANS": "--model_name ANS --model_mode Impression --main_metric NDCG@5 --loss_n softmaxCE",
    "labels, BPRMF": "--model_name BPRMF --model_mode CTR",
    "labels, ANS": "--model_name ANS --model_mode CTR --reg_weight 0.01 --require_pow 1",
}


def flags_of(name: str, where: str) -> list[str]:
    own = [*RUNS[name].split(), "--dataset", "shown" if "--model_mode" in RUNS[name] else "small"]
    if "CTR" in own:
        own += ["--topk", "", "--main_metric", "AUC"]
    return [*FLAGS, *own, "--model_path", f"{where}.pt", "--log_file", where]


@pytest.fixture(scope="module", params=SIZES)
def group(request: pytest.FixtureRequest, folder: Path, launch: Callable) -> str:
    """All RUNS in groups of so many processes."""
    size = request.param
    jobs = [flags_of(name, f"{size} of {name}") for name in RUNS]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run([*flags_of("ANS", f"1 to {size}"), "--epoch", "1"])
    jobs += [[*flags_of("ANS", f"1 to {size}"), "--load", "1"], [*flags_of("ANS", f"{size} to 1"), "--epoch", "1"]]
    (folder / f"{size}.json").write_text(json.dumps(jobs))
    processes = launch(*[["-m", "tests.distributed.worker", f"{size}.json"]] * size, cwd=folder)
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * size, said
    assert "Epoch 2" in said[0][0]
    assert said[1:] == [("", "")] * (size - 1)
    return f"{size} of "


@pytest.fixture(scope="module")
def alone(folder: Path) -> Callable[[str], str]:
    """The same runs in this process, each once."""
    done: set[str] = set()

    def call(name: str) -> str:
        if name not in done:
            run(flags_of(name, f"1 of {name}"))
            done.add(name)
        return "1 of "

    return call


@pytest.mark.parametrize("name", RUNS)
def test_results_are_those_of_one_process(
    name: str, group: str, alone: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    one, many = (Path(f"{which}{name}") for which in (alone(name), group))
    results = [json.loads((path.with_name(path.name + ".d") / "results.json").read_text()) for path in (one, many)]
    losses = [[epoch["loss"] for epoch in result["epochs"]] for result in results]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    for split in ("dev", "test"):
        assert results[1]["results"][split] == pytest.approx(results[0]["results"][split], abs=1e-6)
        tables = [
            pd.read_csv(next(path.with_name(path.name + ".d").glob(f"rec-*-{split}.csv")), sep="\t")
            for path in (one, many)
        ]
        assert tables[0].user_id.equals(tables[1].user_id)
    assert_same_weights(one, many)


def test_a_checkpoint_goes_on_with_another_number_of_processes(
    group: str, alone: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    size = group[0]
    run([*flags_of("ANS", f"{size} to 1"), "--load", "1"])
    for path in (f"1 to {size}", f"{size} to 1"):
        assert "Resume after epoch 1 " in Path(path).read_text()
        assert_same_weights(Path(alone("ANS") + "ANS"), Path(path))


def assert_same_weights(one: Path, other: Path) -> None:
    """Of the runs with these logs: but for rounding, and what Adam makes of that."""
    weights = [load_tensors(path.with_name(path.name + ".pt"))["weights"] for path in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for key, value in weights[0].items():
        assert torch.allclose(weights[1][key], value, rtol=1e-3, atol=1e-4), key
