"""The flags and the facts of the data by which the command line knows its checkpoints again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ans_fast.data import Dataset
from ans_fast.distributed import Processes
from ans_fast.runner.settings import Settings
from ans_fast.training.checkpoint import Checkpoint

NOT_SHAPING = {  # flags that do not shape the weights
    "epoch", "load", "train", "gpu", "verbose", "out", "log_file", "model_path", "path", "save_final_results",
    "regenerate", "plot", "tensorboard", "test_epoch", "check_epoch", "eval_batch_size", "buffer",
    "num_workers", "pin_memory", "metric", "topk", "early_stop", "capture",
}  # fmt: skip


def make_checkpoint(path: Path, settings: Settings, dataset: Dataset, group: Processes) -> Checkpoint:
    """The checkpoint of a run with these flags on these data."""
    return Checkpoint(path, data_facts(dataset), shaping_flags(settings), group)


def shaping_flags(settings: Settings) -> dict[str, Any]:
    """The flags that shape the weights, with their values."""
    plain = (str, int, float)
    return {k: v for k, v in sorted(settings.flags.items()) if k not in NOT_SHAPING and isinstance(v, plain)}


def data_facts(dataset: Dataset) -> dict[str, Any]:
    """The facts of its training data in a file of weights: a fingerprint, and counts that people know."""
    rows = {split: len(getattr(dataset, split)) for split in ("train", "dev", "test")}
    return {"fingerprint": dataset.fingerprint, "users": dataset.n_users - 1, "items": dataset.n_items - 1, **rows}
