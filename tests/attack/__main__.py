"""`python -m tests.attack`: generated attacks, for as long as one likes; exit status 1 after a fault."""

from __future__ import annotations

import argparse
import importlib
import itertools
import pkgutil
import sys
from time import monotonic

import torch

import ans_fast
from tests.attack.attack import Attack, Skip, Tally, run

ATTACKS = {
    "data": "data.Data",
    "checkpoints": "checkpoints.Checkpoints",
    "caches": "caches.Caches",
    "flags": "flags.Flags",
    "disks": "disks.Disks",
    "operators": "operators.Operators",
    "kills": "kills.Kills",
}


def main() -> int:
    """Runs the attacks in turn, each for its share of the minutes or its number of tries."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20, help="all attacks together")
    parser.add_argument("--tries", type=int, help="of each attack, instead of minutes")
    parser.add_argument("--case", type=int, help="the one try of this number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(ATTACKS), help="names of attacks")
    args = parser.parse_args()
    torch.set_num_threads(1)  # children are forks, which have none of the parent's threads
    _import_all()
    names = args.only.split(",")
    fault = False
    for name in names:
        tally = _run(_make(name), args, 60 * args.minutes / len(names))
        fault |= bool(tally and tally.faults)
    return int(fault)


def _import_all() -> None:
    """What children would import one by one; torch's optimizers take what compiles."""
    importlib.import_module("torch._dynamo")
    for module in pkgutil.walk_packages(ans_fast.__path__, "ans_fast."):
        package, _, name = module.name.rpartition(".")
        if name not in ("__main__", "run", "_C", "_kernels", "recbole") and package != "ans_fast.recbole":
            importlib.import_module(module.name)


def _make(name: str) -> Attack:
    module, _, attack = ATTACKS[name].partition(".")
    return getattr(importlib.import_module(f"tests.attack.{module}"), attack)()


def _run(attack: Attack, args: argparse.Namespace, seconds: float) -> Tally | None:
    numbers = itertools.count() if args.case is None and args.tries is None else range(args.tries or 1)
    if args.case is not None:
        numbers = range(args.case, args.case + 1)
    began, tally = monotonic(), Tally()
    try:
        for latest in run(attack, args.seed, numbers):
            tally = latest
            if args.case is None and args.tries is None and monotonic() - began > seconds:
                break
    except Skip as reason:
        print(f"{attack.name}: skipped, {reason}", flush=True)
        return None
    print(f"{attack.name}: {tally} ({monotonic() - began:.0f} s)", flush=True)
    for fault in tally.faults:
        print(f"  FAULT {fault}", flush=True)
    return tally


if __name__ == "__main__":
    sys.exit(main())
