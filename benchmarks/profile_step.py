"""Where the time of a fused ANS training step goes, operator by operator: `python -m benchmarks.profile_step`."""

from __future__ import annotations

import argparse

import torch
from torch.profiler import ProfilerActivity, profile

from ans_fast import BipartiteGraph
from ans_fast.models import ANS
from ans_fast.training.batches import Rows
from ans_fast.training.loop import train_epoch
from ans_fast.training.optimizer import make_optimizer
from ans_fast.training.step import Step
from benchmarks.cases import EPOCH_QUICK, EPOCH_SIZES, THREADS, EpochSize, epoch_pairs


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile_step", description=__doc__)
    parser.add_argument("--rows", type=int, default=25, help="how many operators to list")
    parser.add_argument("--quick", action="store_true", help="a tiny size, to see that it runs")
    args = parser.parse_args(arguments)
    torch.set_num_threads(THREADS)
    print(step_table((EPOCH_QUICK if args.quick else EPOCH_SIZES)[0], args.rows))


def step_table(size: EpochSize, n_rows: int) -> str:
    """The operators of one epoch by the time spent in each itself, in milliseconds a step."""
    source, (users, items) = epoch_pairs(size)
    graph = BipartiteGraph(users, items, size.graph.users, size.graph.items)
    rows = Rows(torch.from_numpy(users), torch.from_numpy(items))
    torch.manual_seed(0)
    model = ANS(graph, emb_size=size.D, n_layers=size.layers, num_neg=size.M, reg_weight=1e-4)
    step = Step(model, make_optimizer(model, "Adam", lr=1e-3, l2=0.0))
    train_epoch(step, rows, size.B)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        train_epoch(step, rows, size.B)

    n_steps = -(-len(rows) // size.B)
    events = sorted(found.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    lines = [
        f"{source} {size}: {total / n_steps / 1e3:.2f} ms a step, {n_steps} steps, {THREADS} threads",
        f"{'ms a step':>10} {'share':>6} {'calls':>6}  operator",
    ]
    for event in events[:n_rows]:
        own = event.self_cpu_time_total
        lines.append(f"{own / n_steps / 1e3:10.3f} {own / total:6.1%} {event.count / n_steps:6.1f}  {event.key}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
