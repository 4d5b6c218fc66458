"""Tables for people: flags, data and model before training, results after it."""

from __future__ import annotations

import os

import torch

from ans_fast import build_info
from ans_fast.data import Dataset
from ans_fast.distributed import Processes
from ans_fast.models.base import Recommender
from ans_fast.nn.held_state import held_tables, n_parameters
from ans_fast.ops._backend import use_reference
from ans_fast.runner.settings import Settings
from ans_fast.training.batches import Rows


def arguments_table(settings: Settings) -> str:
    """The flags and their values, in ReChorus's frame."""
    rows = {k: _shown(v) for k, v in settings.flags.items() if v is not None}
    rows |= {"metric": ",".join(settings.metrics), "topk": ",".join(map(str, settings.ks))}
    return _table("Arguments", "Values", {k: rows[k] for k in sorted(rows)})


def training_table(model: Recommender, dataset: Dataset, rows: Rows, settings: Settings, group: Processes) -> str:
    """Size of the data, work an epoch, and what it runs on."""
    total, own = n_parameters(model), sum(p.numel() for p in model.parameters())
    users, items = dataset.n_users - 1, dataset.n_items - 1
    batch = f"{settings.batch_size:,} {model.rows_told}"
    return _table(
        "Data and model",
        "",
        {
            "users": f"{users:,}",
            "items": f"{items:,}",
            "clicks": f"{len(dataset.clicks):,} train",
            "density": f"{model.graph.n_edges / max(users * items, 1):.4%}",
            "rows": f"{len(dataset.train):,} train, {len(dataset.dev):,} dev, {len(dataset.test):,} test",
            "batches": f"{-(-len(rows) // settings.batch_size):,} an epoch of {batch}",
            "parameters": f"{total:,}",
            "memory": f"{own * 16 / 2**20:,.1f} MiB for weights, gradients and Adam",
            "backend": backend_name(model.device),
            **({} if group.alone else {"processes": f"{group.size}, each with {_held(model)}"}),
        },
    )


def _held(model: Recommender) -> str:
    """What of the tables this process holds."""
    widths = {(table.columns.width, table.columns.dim) for table in held_tables(model)}
    return " and ".join(f"{width} of {dim} columns" for width, dim in widths) or "all tables"


def backend_name(device: torch.device) -> str:
    """Such as "cpu, avx512, 2 threads"."""
    if use_reference():
        return f"reference on {device}"
    if device.type == "cuda":
        return f"cuda, {torch.cuda.get_device_name(device)}"
    return f"cpu, {build_info()['simd_in_use']}, {torch.get_num_threads()} threads"


def result_table(results: dict[str, dict[str, float]]) -> str:
    """Metrics a row, splits a column."""
    names = sorted(next(iter(results.values())), key=lambda n: (n.split("@")[0], int(n.partition("@")[2] or 0)))
    width = max(map(len, names)) + 2
    lines = [" " * width + "".join(f"{split:>10}" for split in results)]
    lines += [f"{name:<{width}}" + "".join(f"{values[name]:>10.4f}" for values in results.values()) for name in names]
    return os.linesep + os.linesep.join(lines)


def _table(title: str, second: str, rows: dict[str, str]) -> str:
    key_width = max(map(len, [title, *rows]))
    value_width = max(map(len, [second, *rows.values()]))
    rule = "=" * (key_width + value_width + 5)
    lines = [f" {key:<{key_width}} | {value:<{value_width}} ".rstrip() for key, value in rows.items()]
    return os.linesep.join(["", rule, f" {title:<{key_width}} | {second}".rstrip(" |"), rule, *lines, rule])


def _shown(value: object) -> str:
    text = str(value).replace("\t", "\\t")
    return text if len(text) <= 60 else text[:57] + "..."
