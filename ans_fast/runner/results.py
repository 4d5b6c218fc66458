"""results.json and curves.png of a run."""

from __future__ import annotations

import json
import math
import os
import platform
from pathlib import Path
from typing import Any

import torch

import ans_fast
from ans_fast.charts import new_figure, png
from ans_fast.files import write_atomically
from ans_fast.runner.history import History
from ans_fast.runner.settings import Settings

PLACES = ("load", "log_file", "model_path", "out", "path")  # flags about places, which shape no result


def write_results(
    path: Path,
    settings: Settings,
    history: History,
    results: dict[str, dict[str, float]],
    seconds: dict[str, float],
    facts: dict[str, Any],
) -> None:
    """Every figure, flag, version and duration of a run; NaN and infinities become null."""
    best = history.best_epoch
    content = {
        "model": settings.model_name,
        "mode": settings.mode.name,
        "dataset": settings.dataset,
        "main_metric": settings.main_metric,
        "best_epoch": best or None,
        "results": results,
        "epochs": [
            {
                "epoch": i,
                "loss": loss,
                "dev": dev,
                "test": history.test.get(str(i)),
                "train_seconds": s[0],
                "eval_seconds": s[1],
            }
            for i, (loss, dev, s) in enumerate(zip(history.losses, history.dev, history.seconds, strict=True), 1)
        ],
        "flags": flags_of(settings),
        "seconds": {**seconds, "training": history.total_seconds},
        **facts,
        "versions": {
            "ans_fast": ans_fast.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "build": ans_fast.build_info(),
        },
        "machine": {"system": platform.platform(), "cpus": os.cpu_count(), "threads": torch.get_num_threads()},
    }
    write_atomically(path, (json.dumps(_finite(content), indent=2, default=str) + "\n").encode())


def other_flags(path: Path, settings: Settings) -> str:
    """The flags by which the run that left results.json at `path` differs from these settings, as --name was -> now;
    "" where there is none, and for a run that goes on from it."""
    if settings.load:
        return ""
    try:
        had = json.loads(path.read_text())["flags"]
        now = {name: value for name, value in flags_of(settings).items() if name not in PLACES}
        changed = [name for name in now if name in had and had[name] != now[name]]
        return ", ".join(f"--{name} {had[name]} -> {now[name]}" for name in changed)
    except (OSError, ValueError, RecursionError, TypeError, KeyError):  # of a file that is damaged, or no result
        return ""


def flags_of(settings: Settings) -> dict[str, Any]:
    """The flags and their values, as results.json holds them."""
    return {name: value for name, value in sorted(settings.flags.items()) if value is not None}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def draw_curves(path: Path, history: History, title: str) -> None:
    """Loss and dev metrics over epochs as a PNG. Raises UserError without matplotlib."""
    epochs = range(1, len(history) + 1)
    figure = new_figure(10, 4)
    left, right = figure.subplots(1, 2)
    left.plot(epochs, history.losses)
    left.set(xlabel="epoch", ylabel="training loss")
    for name in history.dev[0] if history.dev else ():
        right.plot(epochs, [result[name] for result in history.dev], label=name)
    if history.dev:
        right.axvline(history.best_epoch, color="0.7", linewidth=1, zorder=0)
        right.legend()
    right.set(xlabel="epoch", ylabel="dev")
    figure.suptitle(title, fontsize=9)
    write_atomically(path, png(figure))
