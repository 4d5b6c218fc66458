"""Whether the flags' sizes fit the machine, told before the memory is asked for."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

import torch

from ans_fast.data import Dataset
from ans_fast.distributed import ALONE, Processes
from ans_fast.errors import UserError
from ans_fast.models.encoded import SAMPLINGS

COPIES = 4  # of a table in training with Adam: weights, gradients, two moments
LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


def check_memory(args: Namespace, dataset: Dataset, device: torch.device, group: Processes = ALONE) -> None:
    """Raises UserError, which names the flags, where the least that a run must hold at once is more than the device
    has. What is counted are the tables that flags can make huge: a run that passes may need more."""
    sharing = group.local_size if device.type == "cpu" else 1
    parts = {flags: sharing * bytes_ for flags, bytes_ in least_bytes(args, dataset, group).items()}
    total, have = sum(parts.values()), memory_of(device)
    if total > have:
        flags, most = max(parts.items(), key=lambda part: part[1])
        raise UserError(
            f"this takes at least {total / 2**30:,.1f} GiB, {most / 2**30:,.1f} of them by {flags}, and {device.type} "
            f"has {have / 2**30:,.1f} GiB: lower {flags}"
        )


def least_bytes(args: Namespace, dataset: Dataset, group: Processes = ALONE) -> dict[str, int]:
    """The least bytes that hold a process's part of a model's table of nodes, its hops for ranking, and a batch's
    candidates, by the flags that set them."""
    held = group.size if args.model.by_columns(**args.options) else 1
    nodes, size = dataset.n_users + dataset.n_items, getattr(args, "emb_size", 0) // held
    sampling = getattr(args, "negative_sampling", "uniform")
    parts = {"--emb_size": 4 * nodes * size * (COPIES if args.train else 1)}
    if args.model_name == "ANS" and args.base_model != "BPRMF" and args.predict_with == "hops":
        parts["--emb_size and --n_layers"] = 4 * nodes * size * (args.n_layers + 1)
    if args.train and not args.mode.rows.labelled:
        drawn = args.num_neg * (args.n_candidates if "n_candidates" in SAMPLINGS.get(sampling, ()) else 1)
        parts["--batch_size, --num_neg and --n_candidates"] = 8 * min(args.batch_size, len(dataset.train)) * drawn
    return parts


def memory_of(device: torch.device) -> int:
    """Bytes of the device's whole memory."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = LIMIT.read_text().strip() if LIMIT.exists() else ""
    return min(machine, int(limit)) if limit.isdecimal() else machine
