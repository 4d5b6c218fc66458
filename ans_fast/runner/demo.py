"""The demo: a run without flags, then an epoch by the kernels beside one in plain PyTorch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from time import perf_counter

import torch

from ans_fast import BipartiteGraph, distributed
from ans_fast.command_line import Parser, exit_status
from ans_fast.data import load
from ans_fast.data.demo import NAME
from ans_fast.errors import UserError
from ans_fast.flag_types import natural
from ans_fast.models.ans import ANS
from ans_fast.ops import backend
from ans_fast.ops._backend import BACKENDS
from ans_fast.runner import arguments
from ans_fast.runner.main import run
from ans_fast.runner.setup import device_of
from ans_fast.training.schedule import Schedule

BATCH = 2048


def main(argv: Sequence[str] | None = None) -> int:
    """The demo; the exit status."""
    return exit_status(lambda: demo(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m ans_fast.demo",
        description="Trains ANS on a made data set as python -m ans_fast.run does, then shows what an epoch takes in "
        "plain PyTorch.",
    )
    parser.add_argument("--epoch", type=natural, default=Schedule.epoch.default, help=Schedule.epoch.help)
    return parser


def demo(args: argparse.Namespace) -> int:
    """Trains and compares. Raises UserError."""
    if distributed.launched():
        raise UserError("python -m ans_fast.demo is one process: start it without torchrun")
    flags = ["--epoch", str(args.epoch)]
    status = run(flags)
    if status == 0:
        settings = arguments.parse(flags)
        print(f"\n{beside_plain_pytorch(settings.path, device_of(settings))}")
    return status


def beside_plain_pytorch(path: str, device: torch.device) -> str:
    """An epoch of ANS on the demo set in `path` by either backend, from the same weights and draws, in words."""
    dataset = load(path, NAME)
    clicks = BipartiteGraph(dataset.clicks.users, dataset.clicks.items, dataset.n_users, dataset.n_items)
    seconds, losses = {}, {}
    for name in BACKENDS:
        torch.manual_seed(0)
        model = ANS(clicks, first_item=1).to_device(device)
        with backend(name):
            began = perf_counter()
            (losses[name],) = model.fit(epochs=1, batch_size=BATCH)
            seconds[name] = perf_counter() - began
    fused, plain = (f"{seconds[name]:.2f} s (loss {losses[name]:.6f})" for name in BACKENDS)
    times = seconds["reference"] / seconds["fused"]
    return f"An epoch of ANS in batches of {BATCH:,}: {fused}; in plain PyTorch {plain}, {times:.1f} times as long."
