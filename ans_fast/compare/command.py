"""The command line of the comparison."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from ans_fast import distributed
from ans_fast.command_line import Help, Parser, exit_status
from ans_fast.compare import table
from ans_fast.compare.earlier import Cell, earlier_records
from ans_fast.compare.flags import PUBLISHED, base_name, flags_of_models
from ans_fast.compare.grid import Run
from ans_fast.compare.lock import locked
from ans_fast.compare.protocols import PROTOCOLS
from ans_fast.compare.significance import differences
from ans_fast.errors import UserError
from ans_fast.files import write_atomically
from ans_fast.flag_types import List, Text, file_name, natural, path, positive_int, seed, text, words
from ans_fast.metrics import CLICK, RANKING, Metric
from ans_fast.runner import arguments
from ans_fast.runner.modes import RUN_MODES

USUAL_CUT_OFFS = (5, 10, 20, 50)  # of every run
NOTE = (
    "▲, ▼: better, worse than {} with p < 0.05 by a paired t-test over users; p by Holm's correction. No p: the metric "
    "is no mean over rows, the data are others, or a run has not kept its rows' metrics (test_rows.npz)."
)
NAMES = List(Text(".+", "a name"))


class _Help(argparse.RawDescriptionHelpFormatter, Help):
    """Keeps the lines of the epilog's table."""


def parser() -> argparse.ArgumentParser:
    """All flags."""
    published = "\n".join(f"  {name:<10}{flags or 'its defaults'}" for name, flags in sorted(PUBLISHED.items()))
    made = Parser(
        prog="python -m ans_fast.compare",
        usage="%(prog)s --models NAMES --datasets NAMES [--FLAG VALUE] …",
        description="Trains every model on every data set with every seed, skips what is done,\n"
        "goes on where a run was interrupted, and writes table.md, table.csv and table.png.",
        epilog=f"flags of the models unless --config or --flags say otherwise:\n{published}",
        formatter_class=_Help,
    )
    made.add_argument("--models", type=NAMES, help="such as LightGCN,ANS; LightGCN+DNS is a line with its own flags")
    made.add_argument(
        "--datasets", type=NAMES, required=True, help="such as Grocery_and_Gourmet_Food,ML_1MCTR:Impression"
    )
    made.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="lightgcn: data sets are LightGCN's train.txt and test.txt, as they are, and ranked as its code does; "
        "--models, --metrics, of which the first decides on dev, --epoch and --batch_size have its defaults, and so "
        "have the flags of LightGCN and BPRMF",
    )
    made.add_argument("--seeds", type=List(seed), default="0,1,2", help="one run each")
    made.add_argument("--path", type=path, default="data/", help="folder of the data sets")
    made.add_argument("--out", type=path, default="compare", help="folder of the runs and the table")
    made.add_argument(
        "--metrics", type=List(Metric((*RANKING, *CLICK))), default="HR@5,NDCG@5", help="columns of the table"
    )
    made.add_argument(
        "--baseline", type=text, default="", metavar="MODEL", help="test the differences of all others from this line"
    )
    made.add_argument("--epoch", type=natural, default=200, help="epochs at most")
    made.add_argument("--batch_size", type=positive_int, default=256, help="rows a training step")
    made.add_argument("--config", type=file_name, default="", help="TOML or JSON file of model = flags")
    made.add_argument(
        "--flags", type=text, action="append", default=[], metavar="'MODEL: FLAGS'", help="flags of one model"
    )
    made.add_argument("--all", type=words, default="", metavar="FLAGS", help="flags of every run")
    return made


def main(argv: list[str] | None = None) -> int:
    """Runs the grid; the exit status: 1 if a run failed, 2 for a user's error."""
    interrupted = "error: interrupted; the same command goes on from here"
    return exit_status(lambda: compare(parse(argv)), interrupted)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The flags. Raises UserError, which offers --all for a flag that is the runs'."""
    made = parser()
    args, unknown = made.parse_known_args(argv)
    if args.protocol is not None:
        made.set_defaults(**PROTOCOLS[args.protocol].defaults)
        args, unknown = made.parse_known_args(argv)
    if args.models is None:
        made.error("--models is missing, such as --models LightGCN,ANS; only a --protocol has some of its own")
    if not unknown:
        return args
    dataset, mode = _dataset_and_mode(args.datasets[0])
    try:
        arguments.parse(
            ["--model_name", base_name(args.models[0]), "--model_mode", mode, "--dataset", dataset, *unknown]
        )
    except UserError:
        raise UserError(f"unknown flag {unknown[0]} (--help lists all flags)") from None
    raise UserError(f"{unknown[0]} is a flag of the runs: --all '{shlex.join(unknown)}' gives it to all of them")


def compare(args: argparse.Namespace) -> int:
    """The grid and its table; 1 if a run failed. Raises UserError: a flag is wrong, data is missing, or another
    comparison is at work in the folder."""
    if distributed.launched():
        raise UserError("python -m ans_fast.compare is one process, as its runs are: start it without torchrun")
    grid, failed = make_grid(args), 0
    check_metrics(grid, args.metrics)
    if args.baseline and args.baseline not in args.models:
        raise UserError(f"--baseline must be one of --models, {', '.join(args.models)}, got {args.baseline}")
    with locked(args.out) as lock:
        records = {run: run.record() for run in grid}  # of all, so that mistakes are told before hours of work
        for number, run in enumerate(grid, 1):
            what = f"[{number}/{len(grid)}] {run.model} on {run.title}, seed {run.seed}"
            if records[run] is None:
                print(f"{what}: runs, output in {run.folder / 'output.txt'}", flush=True)
                status = run.execute(lock)
                records[run] = None if status else run.record()
                if records[run] is None:
                    failed += 1
                    why = f"failed with status {status}" if status else "left no result of these flags and this data"
                    print(f"{what}: {why}: {run.last_words()}", flush=True)
                    continue
            print(f"{what}: {_values(records[run], args.metrics)}", flush=True)
            write_table(records, args)
        print(write_table(records, args))
    return 1 if failed else 0


def make_grid(args: argparse.Namespace) -> list[Run]:
    """All runs, data set by data set. Raises UserError."""
    shared = ["--path", str(args.path), "--epoch", str(args.epoch), "--batch_size", str(args.batch_size)]
    published = PUBLISHED
    if args.protocol is not None:
        protocol = PROTOCOLS[args.protocol]
        published = {**published, **protocol.published}
        shared += [*protocol.runs, "--main_metric", args.metrics[0]]
    flags = flags_of_models(args.models, args.config, args.flags, published)
    grid = []
    for dataset, mode in dict.fromkeys(map(_dataset_and_mode, args.datasets)):
        for model in flags:
            folder = args.out / "runs" / f"{quote(dataset, safe='')}@{mode or 'TopK'}" / model
            own = (*shared, *_measured(args.metrics, mode), *args.all, *flags[model])
            seeds = dict.fromkeys(args.seeds)
            grid += [Run(model, dataset, mode, number, own, folder / str(number)) for number in seeds]
    return grid


def _measured(metrics: list[str], mode: str) -> list[str]:
    """The flags by which a run reports those metrics that its mode has."""
    run_mode = RUN_MODES.get(mode or "TopK")
    if run_mode is None:  # told when its flags are read
        return []
    wanted = [name.partition("@") for name in metrics if name.partition("@")[0] in run_mode.metrics]
    if not wanted:
        raise UserError(f"--metrics {','.join(metrics)}: {run_mode.name} mode has only {', '.join(run_mode.metrics)}")
    flags = ["--metric", ",".join(dict.fromkeys(name for name, _, _ in wanted))]
    further = sorted({int(k) for _, _, k in wanted if k} - set(USUAL_CUT_OFFS))
    if further:
        flags += ["--topk", ",".join(map(str, (*USUAL_CUT_OFFS, *further)))]
    return flags


def check_metrics(grid: list[Run], metrics: list[str]) -> None:
    """Raises UserError for a metric that no run of the grid will report, and for flags that a run does not take."""
    reported = {name for run in grid for name in run.reports()}
    for name in metrics:
        if name not in reported:
            raise UserError(
                f"--metrics {name}: no run reports it, but {', '.join(sorted(reported))}; --topk is in --all?"
            )


def _dataset_and_mode(named: str) -> tuple[str, str]:
    """Of "name" or "name:mode"; the mode is "" for TopK."""
    dataset, _, mode = named.partition(":")
    return dataset, "" if mode == "TopK" else mode


def _values(record: dict[str, Any], metrics: list[str]) -> str:
    found = ((name, record["results"]["test"].get(name)) for name in metrics)
    return ", ".join(f"{name} {math.nan if value is None else value:.4f}" for name, value in found)


def _protocols_told(found: dict[Cell, list[dict[str, Any]]]) -> str:
    """A paragraph for each protocol that results are by."""
    told = {
        (dataset, name)
        for (dataset, _), records in found.items()
        for record in records
        if (name := record["flags"].get("protocol")) in PROTOCOLS
    }
    return "".join(f"\n{dataset}, protocol {name}: {PROTOCOLS[name].told}.\n" for dataset, name in sorted(told))


def write_table(records: dict[Run, dict[str, Any] | None], args: argparse.Namespace) -> str:
    """Writes the table of the runs that have a record, and of those that other grids have left; the Markdown."""
    found: dict[Cell, list[dict[str, Any]]] = {}
    for run, record in records.items():
        if record is not None:
            found.setdefault((run.title, run.model), []).append(record)
    out, metrics = args.out, args.metrics
    found |= earlier_records(out, without=found)
    tested = differences(found, metrics, args.baseline) if args.baseline else {}
    lines = [table.Line.of_records(*key, of_line, metrics, tested.get(key, {})) for key, of_line in found.items()]
    text = table.markdown(lines, metrics) + _protocols_told(found)
    if args.baseline:
        text += f"\n{NOTE.format(args.baseline)}\n"
    write_atomically(out / "table.md", text.encode())
    write_atomically(out / "table.csv", table.comma_separated(lines, metrics).encode())
    png = table.chart(lines, metrics) if lines else None
    if png:
        write_atomically(out / "table.png", png)
    return text
