"""Six samplers over two bases, equally tuned: `python -m benchmarks.samplers --path ../data --datasets ml-100k`.

A cell is a sampler over a base on a data set. Each gets as many trials of a search over learning rate, weight decay and
the sampler's own options, from one seed and judged by dev (`ans_fast.tune`); then, with the flags that did best, a run
a seed, and they alone look at test. Epochs, patience and batch size are the same for all.

The same command goes on where it stopped, so that hours can be spent in parts: a kill loses the training at hand alone.
Commands with one --work share its table.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Collection
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean
from time import monotonic
from typing import Any

import optuna
import pandas as pd

from ans_fast.command_line import Parser, exit_status
from ans_fast.compare import table
from ans_fast.compare.lock import locked
from ans_fast.compare.significance import differences
from ans_fast.data import command as data
from ans_fast.errors import UserError
from ans_fast.files import write_atomically
from ans_fast.flag_types import Number, Text, path, positive_int
from ans_fast.runner import main as run
from ans_fast.tune import command as tune
from benchmarks.cases import ROOT

DATASETS = ("ml-100k", "Grocery_and_Gourmet_Food", "ML_1MTOPK", "gowalla")  # the quickest first
BASES = {"BPRMF": "", "LightGCN": "--n_layers 2"}
DRAWN, CANDIDATES = "num_neg=1,2,4,8", "n_candidates=2,4,8"
SAMPLERS = {  # flags, and where its own options are looked for, beside the ranges that every search has
    "RNS": ("--negative_sampling uniform", DRAWN),
    "PNS": ("--negative_sampling popularity", DRAWN),
    "DNS": ("--negative_sampling DNS --num_neg 1", CANDIDATES),
    "MixGCF": ("--negative_sampling MixGCF --num_neg 1", CANDIDATES),
    "DENS": ("--negative_sampling DENS --num_neg 1", f"{CANDIDATES} dens_gamma=1e-2..1:log dens_warmup=1..30:log"),
    "ANS": ("--negative_sampling ANS", "num_neg=2,4,8"),
}
SPACE = "lr=1e-3..3e-2:log"  # few epochs want large steps
MAIN = "NDCG@20"
METRICS = ("HR@15", "RECALL@15", "NDCG@15", "HR@20", "RECALL@20", MAIN)
DEV = f"dev {MAIN}"
COLUMNS = ("dataset", "base", "sampler", "training", "number", "best_epoch", DEV, *METRICS, "flags", "seconds")
RESULTS = "log/results.json"  # of a run that came to its end
SHARED = (
    f"--rank_by user --metric HR,RECALL,NDCG --topk 15,20 --main_metric {MAIN} --batch_size 2048 "
    "--reg_weight 0 --temperature 0.1"  # the last two would be searched
)
TITLE = """\
# Samplers, equally tuned

Made by `python -m benchmarks.samplers`, which says how; `benchmarks/results/samplers.csv` has all trials and runs.
"""
NOTE = f"""
Test, each user ranked once among all items but its earlier clicks. Flags are those that did best on dev by {MAIN}.
Bold: the best sampler of a base. ▼: worse than it with p < 0.05, by a paired t-test over users; p by Holm's correction.
"""


def main(arguments: list[str] | None = None) -> int:
    args = parser().parse_args(arguments)
    return exit_status(lambda: samplers(args), "error: interrupted; the same command goes on from here")


def parser() -> argparse.ArgumentParser:
    made = Parser(prog="python -m benchmarks.samplers", description=__doc__)
    made.add_argument("--path", type=path, required=True, help="folder of the data sets")
    made.add_argument("--datasets", nargs="+", type=Text(), default=DATASETS, help="folders there")
    made.add_argument("--bases", nargs="+", choices=BASES, default=[*BASES])
    made.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=[*SAMPLERS])
    made.add_argument("--trials", type=positive_int, default=20, help="of each cell's search")
    made.add_argument("--seeds", type=positive_int, default=3, help="runs of each cell")
    made.add_argument("--epochs", type=positive_int, default=15, help="of each trial and run, at most")
    made.add_argument("--patience", type=positive_int, default=4, help="epochs without a better dev result")
    made.add_argument("--gpu", type=Text(), default="", help="see python -m ans_fast.run")
    made.add_argument("--minutes", type=Number(0, 1e6), default=1e6, help="begin no training after so many")
    made.add_argument("--work", type=path, default=ROOT / "build/samplers", help="folder of data, searches and runs")
    made.add_argument("--out", type=path, default=ROOT / "benchmarks/results", help="folder of the table")
    return made


def samplers(args: argparse.Namespace) -> int:
    """Trains what cells lack, one cell after the other, and writes the table after each. Raises UserError."""
    end = monotonic() + 60 * args.minutes
    with locked(args.work):
        for cell in cells(args):
            cell.search(args.trials, end)
            cell.measure(args.trials, args.seeds, end)
            write_table(args.work, args.out)
    return 0


def cells(args: argparse.Namespace) -> list[Cell]:
    """What the flags ask for."""
    made = []
    for dataset in args.datasets:
        shared = [*data_flags(dataset, args.path, args.work), *SHARED.split()]
        shared += ["--epoch", str(args.epochs), "--early_stop", str(args.patience), "--gpu", args.gpu]
        for base in args.bases:
            for sampler in args.samplers:
                chosen, own = SAMPLERS[sampler]
                flags = (*shared, *BASES[base].split(), *chosen.split())
                folder = args.work / "cells" / dataset / base / sampler
                made.append(Cell(dataset, base, folder, flags, f"{SPACE} {own}"))
    return made


def data_flags(name: str, path: Path, work: Path) -> list[str]:
    """Where the set lies and how it is read: a .inter file is split 80/10/10, LightGCN's lists keep their split."""
    if (path / name / "train.txt").exists():
        return ["--path", str(path), "--protocol", "lightgcn"]
    if not (path / name / f"{name}.inter").exists():
        return ["--path", str(path)]
    target = work / "data"
    if not (target / name).exists():
        status = data.main(["convert", str(path / name), "--split", "ratio", "--out", str(target)])
        if status:
            raise UserError(f"{path / name} was not converted")
    return ["--path", str(target)]


@dataclass(frozen=True)
class Cell:
    """folder: of its study and runs. flags, space: those of all its trainings, and where others are looked for."""

    dataset: str
    base: str
    folder: Path
    flags: tuple[str, ...]
    space: str

    def search(self, n_trials: int, end: float) -> None:
        """Trials until there are so many in all; none begins after `end`. Raises UserError."""
        minutes = (end - monotonic()) / 60
        if minutes <= 0:
            return
        print(self.folder, flush=True)
        own = ["--trials", str(n_trials), "--minutes", f"{minutes:.3f}", "--space", self.space]
        where = ["--dataset", self.dataset, "--out", str(self.folder)]
        if tune.main([*own, *where, "--model_name", self.base, *self.flags]):
            raise UserError(f"the search in {self.folder} failed")

    def measure(self, n_trials: int, n_seeds: int, end: float) -> None:
        """Runs with the flags that did best of so many trials; none begins after `end`. Raises UserError."""
        done = Done(self.folder)
        if len(done.trials) < n_trials:
            return
        what = ["--model_name", self.base, "--dataset", self.dataset, *self.flags, *done.best.user_attrs["flags"]]
        for seed in range(n_seeds):
            folder = self.folder / str(done.best.number) / str(seed)
            if (folder / RESULTS).exists() or monotonic() > end:
                continue
            print(f"seed {seed}", flush=True)
            places = ["--log_file", f"{folder}/log.txt", "--model_path", f"{folder}/model.pt", "--verbose", "30"]
            begun = int((folder / "model.resume.pt").exists())
            more = ["--random_seed", str(seed), "--save_final_results", "0", "--load", str(begun)]
            if run.main([*what, *places, *more]):
                raise UserError(f"the run in {folder} failed")


class Done:
    """What is in a cell's folder.

    trials: those that came to their end, and those that were stopped because others did better. best: the one that did
    best on dev; None before the first. records: results of its runs that came to their end, as `ans_fast.compare` has
    them.
    """

    def __init__(self, folder: Path):
        self.dataset, self.base, self.sampler = folder.parts[-3:]
        database = folder / "study.db"
        found = (
            optuna.load_study(study_name="study", storage=f"sqlite:///{database}").trials if database.exists() else []
        )
        self.trials = [trial for trial in found if trial.state.name in ("COMPLETE", "PRUNED")]
        whole = [trial for trial in self.trials if trial.state.name == "COMPLETE"]
        self.best = max(whole, key=lambda trial: trial.value, default=None)
        paths = sorted((folder / str(self.best.number)).glob(f"*/{RESULTS}")) if self.best else []
        self.records = [{**json.loads(path.read_text()), "folder": path.parent.parent} for path in paths]


def write_table(work: Path, out: Path) -> None:
    """samplers.csv and samplers.md of all cells in the folder."""
    place = {name: number for number, name in enumerate((*DATASETS, *BASES, *SAMPLERS))}
    folders = [study.parent for study in work.glob("cells/*/*/*/study.db")]
    folders.sort(key=lambda folder: [(place.get(name, -1), name) for name in folder.parts[-3:]])
    found = [Done(folder) for folder in folders]
    rows = pd.DataFrame([row for cell in found for row in rows_of(cell)], columns=COLUMNS)
    write_atomically(out / "samplers.csv", rows.to_csv(index=False, float_format="%.6g").encode())
    write_atomically(out / "samplers.md", markdown(found).encode())


def rows_of(cell: Done) -> list[dict[str, Any]]:
    """Each trial and each run: COLUMNS of the CSV by name, metrics on test where nothing else is said."""
    names = {"dataset": cell.dataset, "base": cell.base, "sampler": cell.sampler}
    rows = []
    for trial in cell.trials:
        kind = "trial" if trial.state.name == "COMPLETE" else "stopped trial"
        told = {"training": kind, "number": trial.number, "best_epoch": trial.user_attrs.get("best_epoch")}
        flags, seconds = shlex.join(trial.user_attrs["flags"]), trial.duration.total_seconds()
        rows.append({**names, **told, DEV: trial.value, "flags": flags, "seconds": seconds})
    for record in cell.records:
        told = {"training": "run", "number": record["flags"]["random_seed"], "best_epoch": record["best_epoch"]}
        flags = shlex.join(cell.best.user_attrs["flags"])
        dev, test, seconds = record["results"]["dev"][MAIN], record["results"]["test"], record["seconds"]["training"]
        rows.append({**names, **told, DEV: dev, **test, "flags": flags, "seconds": seconds})
    return rows


def markdown(found: list[Done]) -> str:
    """The table, what was spent on it, and how to read it."""
    rows = [["data set, base", "sampler", "seeds", *METRICS], ["---"] * 2 + ["---:"] * (1 + len(METRICS))]
    told = []
    for title, cells in groupby(found, key=lambda cell: f"{cell.dataset}, {cell.base}"):
        trials, records = {}, {}
        for cell in cells:
            if cell.records:
                records[title, cell.sampler] = cell.records
                trials[cell.sampler] = len(cell.trials)
        if not records:
            continue
        values = {key: [run["results"]["test"] for run in runs] for key, runs in records.items()}
        best = {name: max(values, key=lambda key: mean(of[name] for of in values[key])) for name in METRICS}
        tested = differences(records, [MAIN], best[MAIN][1])
        for key, runs in values.items():
            columns = [
                table.told([run[name] for run in runs], key == best[name], tested[key].get(name)) for name in METRICS
            ]
            rows.append([*key, str(len(runs)), *columns])
        flags = next(iter(records.values()))[0]["flags"]
        told.append(
            f"- {title}: {_span(trials.values())} trials a cell; {flags['epoch']} epochs at most, and "
            f"{flags['early_stop']} without a better result on dev"
        )
    return "\n".join([TITLE, *(f"| {' | '.join(row)} |" for row in rows), "", *told, NOTE])


def _span(numbers: Collection[int]) -> str:
    return str(min(numbers)) if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"


if __name__ == "__main__":
    sys.exit(main())
