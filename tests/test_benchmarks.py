"""The benchmarks run: one tiny size of every case, through the code that makes the published figures."""

from __future__ import annotations

import csv
import os
import random
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks import cases, distributed, profile_step, report, time_to_quality
from tests.conftest import ROOT


def test_report(tmp_path: Path) -> None:
    assert report.main(["--quick", "--out", str(tmp_path), "--raw", str(tmp_path / "raw")]) == 0
    with (tmp_path / "cpu.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["op"] for row in rows} == set(report.OPS)
    for op in report.OPS:
        assert {"fused", "eager", "compile"} <= {row["provider"] for row in rows if row["op"] == op}
    for row in rows:
        assert 0 < float(row["p20_ms"]) <= float(row["p50_ms"]) <= float(row["p80_ms"])
    assert all(f"## {op}" in (tmp_path / "cpu.md").read_text() for op in report.OPS)
    assert (tmp_path / "speedup.png").stat().st_size > 0


def test_profile_lists_the_kernels() -> None:
    table = profile_step.step_table(cases.EPOCH_QUICK[0], 100)
    for op in ("sample_negatives", "propagate", "ans_terms_forward", "ans_terms_backward"):
        assert f"ans_fast::{op}\n" in table + "\n"


def test_graphs_have_the_size_they_say() -> None:
    graph = cases.graph(cases.TINY)
    assert (graph.n_users, graph.n_items, graph.n_edges) == (30, 40, 200)


def test_arithmetic_of_several_processes() -> None:
    sizes = distributed.Sizes(nodes=1000, clicks=5000, dim=8, layers=1, batch=100, negatives=2)
    rows, dense = 400 * 2 * 8 * 4, (2 * 8 * 9 + 9) * 4
    assert distributed.exchanged(sizes, 1) == 0
    assert distributed.exchanged(sizes, 4) == 2 * 3 / 4 * (rows / 4 + dense)
    assert distributed.table_bytes(sizes, 4) == 1000 * 2 * 4 * 7
    assert distributed.report() in (ROOT / "docs/distributed.md").read_text()


def test_curves_go_on_after_a_kill_and_with_more_epochs(tmp_path: Path) -> None:
    lists, log = tmp_path / "lists", tmp_path / "work/LightGCN_BSL/log.txt"
    lists.mkdir()
    draw = random.Random(0)
    for split, size in (("train", 11), ("test", 3)):
        lines = (" ".join(map(str, [user, *draw.sample(range(50), size)])) for user in range(60))
        (lists / f"{split}.txt").write_text("\n".join(lines) + "\n")
    places = ["--path", str(lists), "--work", str(tmp_path / "work"), "--out", str(tmp_path)]
    arguments = [*places, "--runs", "LightGCN, BSL"]
    endless = [sys.executable, "-m", "benchmarks.time_to_quality", *arguments, "--epochs", "1000000"]
    process = subprocess.Popen(endless, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        while "Epoch 2 " not in (log.read_text() if log.exists() else ""):
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "time_to_quality.csv").exists()
    killed = max(map(int, re.findall(r"Epoch (\d+) ", log.read_text())))
    curves = []
    for epochs in (killed + 3, killed + 5):
        assert time_to_quality.main([*arguments, "--epochs", str(epochs)]) == 0
        with (tmp_path / "time_to_quality.csv").open() as file:
            curves.append(list(csv.DictReader(file)))
        assert [row["epoch"] for row in curves[-1]] == [str(epoch) for epoch in range(1, epochs + 1)]
    assert curves[1][: len(curves[0])] == curves[0]
    seconds = [float(row["seconds"]) for row in curves[1]]
    assert all(0 < before < after for before, after in pairwise(seconds))
    assert (tmp_path / "time_to_quality.png").stat().st_size > 0


def test_samplers_go_on_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed")
    from benchmarks import samplers

    monkeypatch.chdir(ROOT)
    places = ["--path", str(tmp_path / "data"), "--work", str(tmp_path / "work"), "--out", str(tmp_path)]
    budget = "--trials 3 --seeds 2 --epochs 1 --datasets demo --bases BPRMF --samplers RNS ANS".split()

    def rows() -> list[dict[str, str]]:
        with (tmp_path / "samplers.csv").open() as file:
            return list(csv.DictReader(file))

    command = [sys.executable, "-m", "benchmarks.samplers", *places, *budget]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert any(line.startswith("[1/3]") for line in process.stdout)
        process.kill()
    assert samplers.main([*places, *budget, "--minutes", "0"]) == 0
    before = rows()
    assert 1 <= len(before) < 3
    assert samplers.main([*places, *budget]) == 0
    after = rows()
    assert after[: len(before)] == before
    of_cell = ["trial"] * 3 + ["run"] * 2
    assert [(row["sampler"], row["training"]) for row in after] == [(s, t) for s in ("RNS", "ANS") for t in of_cell]
    for at in (0, 5):
        trials, runs = after[at : at + 3], after[at + 3 : at + 5]
        best = max(trials, key=lambda row: float(row["dev NDCG@20"]))
        assert [run["flags"] for run in runs] == [best["flags"]] * 2
        assert float(runs[0]["dev NDCG@20"]) == pytest.approx(float(best["dev NDCG@20"]), abs=1e-6)
        assert all(0 < float(run["RECALL@15"]) <= float(run["RECALL@20"]) < 1 for run in runs)
    table = (tmp_path / "samplers.md").read_text()
    lines = [line for line in table.splitlines() if line.startswith("| demo, BPRMF |")]
    means = [sum(float(run["NDCG@20"]) for run in after[at : at + 2]) / 2 for at in (3, 8)]
    better = means.index(max(means))
    assert f"**{means[better]:.4f} ± " in lines[better]
    assert f" {means[1 - better]:.4f} ± " in lines[1 - better]
    assert "(p " in lines[1 - better]
    assert "demo, BPRMF: 3 trials a cell; 1 epochs at most" in table
    assert samplers.main([*places, *budget]) == 0
    assert rows() == after
