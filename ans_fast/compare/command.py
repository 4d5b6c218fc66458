"""The command line of the comparison."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from ans_fast.command_line import Help, Parser, exit_status
from ans_fast.compare import table
from ans_fast.compare.flags import PUBLISHED, flags_of_models
from ans_fast.compare.grid import Run
from ans_fast.files import write_atomically
from ans_fast.flag_types import List, Text, file_name, natural, path, positive_int, seed, text, words
from ans_fast.runner.metrics import CLICK, RANKING, Metric

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
    made.add_argument(
        "--models", type=NAMES, required=True, help="such as LightGCN,ANS; LightGCN+DNS is a line with its own flags"
    )
    made.add_argument(
        "--datasets", type=NAMES, required=True, help="such as Grocery_and_Gourmet_Food,ML_1MCTR:Impression"
    )
    made.add_argument("--seeds", type=List(seed), default="0,1,2", help="one run each")
    made.add_argument("--path", type=path, default="data/", help="folder of the data sets")
    made.add_argument("--out", type=path, default="../compare", help="folder of the runs and the table")
    made.add_argument(
        "--metrics", type=List(Metric((*RANKING, *CLICK))), default="HR@5,NDCG@5", help="columns of the table"
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
    return exit_status(lambda: compare(parser().parse_args(argv)), interrupted)


def compare(args: argparse.Namespace) -> int:
    """The grid and its table; 1 if a run failed."""
    grid, metrics = make_grid(args), args.metrics
    failed = 0
    for number, run in enumerate(grid, 1):
        what = f"[{number}/{len(grid)}] {run.model} on {run.dataset} {run.mode}, seed {run.seed}".replace(" ,", ",")
        if run.record is None:
            print(f"{what}: runs, output in {run.folder / 'output.txt'}", flush=True)
            status = run.execute()
            if status:
                failed += 1
                print(f"{what}: failed with status {status}: {run.last_words()}", flush=True)
                continue
        record = run.record
        if record is not None:
            values = [f"{name} {record['results']['test'].get(name) or float('nan'):.4f}" for name in metrics]
            print(f"{what}: {', '.join(values)}", flush=True)
        write_table(grid, metrics, args.out)
    print(write_table(grid, metrics, args.out))
    return 1 if failed else 0


def make_grid(args: argparse.Namespace) -> list[Run]:
    """All runs, data set by data set. Raises UserError."""
    flags = flags_of_models(args.models, args.config, args.flags)
    shared = ["--path", str(args.path), "--epoch", str(args.epoch), "--batch_size", str(args.batch_size)]
    shared += ["--metric", ",".join(dict.fromkeys(name.partition("@")[0] for name in args.metrics))]
    grid = []
    for named in dict.fromkeys(args.datasets):
        dataset, _, mode = named.partition(":")
        for model in flags:
            own = (*shared, *args.all, *flags[model])
            for number in dict.fromkeys(args.seeds):
                folder = args.out / "runs" / re.sub(r"[^\w.+-]", "_", f"{named}__{model}") / str(number)
                grid.append(Run(model, dataset, mode, number, own, folder))
    return grid


def write_table(grid: list[Run], metrics: list[str], out: Path) -> str:
    """Writes the table of the runs that are done; the Markdown."""
    records: dict[tuple[str, str], list] = {}
    for run in grid:
        record = run.record
        if record is not None:
            name = f"{run.dataset} {run.mode}".strip()
            records.setdefault((name, run.model), []).append(record)
    lines = [table.Line.of_records(*key, found, metrics) for key, found in records.items()]
    text = table.markdown(lines, metrics)
    write_atomically(out / "table.md", text.encode())
    write_atomically(out / "table.csv", table.comma_separated(lines, metrics).encode())
    png = table.chart(lines, metrics) if lines else None
    if png:
        write_atomically(out / "table.png", png)
    return text
