"""Recall over seconds of training: `python -m benchmarks.time_to_quality --path ../data/gowalla --epochs 20`.

LightGCN's own split of Gowalla, and its way to show a curve: all of train is trained on, and test is ranked after each
epoch; no epoch is chosen by it. The same command with more epochs goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

from ans_fast.charts import new_figure, png
from ans_fast.files import write_atomically
from benchmarks.cases import ROOT

RUNS = {
    "LightGCN, BPR": "--model_name LightGCN --n_layers 3 --reg_weight 1e-4 --require_pow 1 --init_std 0.1",
    "LightGCN, BSL": "--model_name LightGCN --n_layers 1 --loss_n BSL --temperature 0.12 --positive_temperature 0.1008 "
    "--ranking product",
    "ANS, BSL": "--model_name ANS --n_layers 1 --loss_n BSL --temperature 0.12 --positive_temperature 0.1008 "
    "--ranking product --l2 0",
    "BPRMF, BSL": "--model_name BPRMF --loss_n BSL --n_own 800 --temperature 0.08 --positive_temperature 0.0976 "
    "--lr 1e-4 --init_std 0.0075 --batch_size 1024",
}
PUBLISHED = 0.1824  # Recall@20 of LightGCN after 1,000 epochs ("LightGCN", He et al., SIGIR 2020, its code's README)
SET = "gowalla_all"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.time_to_quality", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="folder of LightGCN's train.txt and test.txt")
    parser.add_argument("--epochs", type=int, default=20, help="of every run, those of earlier commands among them")
    parser.add_argument("--runs", nargs="*", choices=RUNS, default=[*RUNS], help="which of them to train")
    parser.add_argument("--work", type=Path, default=ROOT / "build/time_to_quality", help="folder of data and runs")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results", help="folder of the curves")
    args = parser.parse_args(arguments)

    if not (args.work / "data" / SET).exists():
        _convert(args.path, args.work)
    for name in args.runs:
        _train(name, args.epochs, args.work)
    curves = {name: _curve(name, args.work) for name in RUNS if _results(name, args.work).exists()}
    args.out.mkdir(parents=True, exist_ok=True)
    table = pd.concat(curves, names=["run"]).reset_index("run")
    write_atomically(args.out / "time_to_quality.csv", table.to_csv(index=False).encode())
    write_atomically(args.out / "time_to_quality.png", _chart(curves))
    for name, curve in curves.items():
        print(f"{name}: {_told(curve)}")
    return 0


def _convert(source: Path, work: Path) -> None:
    """The runner's files of the lists. It wants rows to choose an epoch by: one train click, which tells nothing."""
    lists = work / "lists"
    lists.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        shutil.copyfile(source / f"{split}.txt", lists / f"{split}.txt")
    first = (lists / "train.txt").read_text().split("\n", 1)[0].split()
    (lists / "valid.txt").write_text(" ".join(first[:2]) + "\n")
    _call("-m", "ans_fast.data", "convert", str(lists), "--name", SET, "--out", str(work / "data"))


def _train(name: str, epochs: int, work: Path) -> None:
    model = work / _folder(name) / "model.pt"
    begun = int(any(model.parent.glob("model*.pt")))  # weights, or only a checkpoint
    flags = f"--dataset {SET} --batch_size 2048 --epoch {epochs} --test_epoch 1 --early_stop 0 --topk 20"
    more = f"--metric RECALL,NDCG --main_metric RECALL@20 --save_final_results 0 --load {begun}"
    places = ("--path", str(work / "data"), "--log_file", str(model.with_name("log.txt")), "--model_path", str(model))
    _call("-m", "ans_fast.run", *flags.split(), *more.split(), "--gpu", "", *RUNS[name].split(), *places)


def _call(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True)


def _folder(name: str) -> str:
    return name.replace(", ", "_")


def _results(name: str, work: Path) -> Path:
    return work / _folder(name) / "log/results.json"


def _curve(name: str, work: Path) -> pd.DataFrame:
    """An epoch a row: seconds of training until its end, and what test gives then."""
    epochs = json.loads(_results(name, work).read_text())["epochs"]
    curve = pd.DataFrame(
        [{"epoch": each["epoch"], "seconds": each["train_seconds"], **each["test"]} for each in epochs]
    )
    return curve.assign(seconds=curve.seconds.cumsum())


def _told(curve: pd.DataFrame) -> str:
    last = curve.iloc[-1]
    text = f"Recall@20 {last['RECALL@20']:.4f}, NDCG@20 {last['NDCG@20']:.4f} after {last.epoch:.0f} epochs"
    reached = curve[curve["RECALL@20"] >= PUBLISHED]
    if reached.empty:
        return f"{text} and {last.seconds:.0f} s"
    return f"{text}; {PUBLISHED} in epoch {reached.epoch.iloc[0]}, after {reached.seconds.iloc[0]:.0f} s of training"


def _chart(curves: dict[str, pd.DataFrame]) -> bytes:
    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(curve.seconds, curve["RECALL@20"], marker=".", label=name)
    axes.axhline(PUBLISHED, color="0.5", linestyle="--", label="published for LightGCN")
    axes.set(xlabel="seconds of training", ylabel="test Recall@20", xscale="log", title="Gowalla, two CPU cores")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


if __name__ == "__main__":
    sys.exit(main())
