"""Whether the flags' sizes fit the machine, told before the memory is asked for."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ans_fast.data import Dataset
from ans_fast.distributed import ALONE, Processes
from ans_fast.errors import UserError
from ans_fast.models.ans import ANS
from ans_fast.models.encoded import SAMPLINGS
from ans_fast.runner.settings import Settings

COPIES = 4  # of a table in training with Adam: weights, gradients, two moments
LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


def check_memory(settings: Settings, dataset: Dataset, device: torch.device, group: Processes = ALONE) -> None:
    """Raises UserError, which names the flags, where the least that a run must hold at once is more than the device
    has. What is counted are the tables that flags can make huge: a run that passes may need more."""
    sharing = group.local_size if device.type == "cpu" else 1
    parts = {flags: sharing * bytes_ for flags, bytes_ in least_bytes(settings, dataset, group).items()}
    total, have = sum(parts.values()), memory_of(device)
    if total > have:
        flags, most = max(parts.items(), key=lambda part: part[1])
        raise UserError(
            f"this takes at least {total / 2**30:,.1f} GiB, {most / 2**30:,.1f} of them by {flags}, and {device.type} "
            f"has {have / 2**30:,.1f} GiB: lower {flags}"
        )


def least_bytes(settings: Settings, dataset: Dataset, group: Processes = ALONE) -> dict[str, int]:
    """The least bytes that hold a process's part of a model's table of nodes, its hops for ranking, and a batch's
    candidates, by the flags that set them."""
    options = settings.model_options
    held = group.size if settings.model.by_columns(**options) else 1
    nodes, size = dataset.n_users + dataset.n_items, options.get("emb_size", 0) // held
    parts = {"--emb_size": 4 * nodes * size * (COPIES if settings.train else 1)}
    if settings.model is ANS and options["base_model"] != "BPRMF" and options["predict_with"] == "hops":
        parts["--emb_size and --n_layers"] = 4 * nodes * size * (options["n_layers"] + 1)
    if settings.train and not settings.mode.rows.labelled:
        looked_at = SAMPLINGS[options.get("negative_sampling", "uniform")]
        rows = min(settings.batch_size, len(dataset.train))
        drawn = options["num_neg"] * (options["n_candidates"] if "n_candidates" in looked_at else 1)
        parts["--batch_size, --num_neg and --n_candidates"] = 8 * rows * drawn
        parts["--batch_size and --n_own"] = 8 * rows * options.get("n_own", 0)
    return parts


def memory_of(device: torch.device) -> int:
    """Bytes of the device's whole memory."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = LIMIT.read_text().strip() if LIMIT.exists() else ""
    return min(machine, int(limit)) if limit.isdecimal() else machine
