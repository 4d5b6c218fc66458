"""What the flags ask for, made: the device, the model on it, and its rows of train."""

from __future__ import annotations

import os
from contextlib import nullcontext

import torch

from ans_fast import BipartiteGraph, distributed
from ans_fast.data import Dataset
from ans_fast.distributed import ALONE, Processes
from ans_fast.errors import UserError
from ans_fast.models.base import Recommender
from ans_fast.nn.columns import in_columns
from ans_fast.ops._backend import use_reference
from ans_fast.ops._library import require_cuda_kernels
from ans_fast.runner.settings import Settings
from ans_fast.training.batches import Rows


def device_of(settings: Settings, group: Processes = ALONE) -> torch.device:
    """The CPU, or the GPU that is this process's among those that --gpu names, under torchrun by default all."""
    if "gpu" in settings.changed or not distributed.launched():
        os.environ["CUDA_VISIBLE_DEVICES"] = settings.gpu
    if settings.gpu == "" or not torch.cuda.is_available():
        return torch.device("cpu")
    if not use_reference():
        try:
            require_cuda_kernels()
        except RuntimeError as error:
            raise UserError(f"{error}; or give --gpu ''") from None
    if group.local_rank >= torch.cuda.device_count():
        raise UserError(
            f"{group.local_size} processes on this machine need a GPU each, {torch.cuda.device_count()} are to be "
            "seen: start fewer, or give --gpu ''"
        )
    torch.cuda.set_device(group.local_rank)
    return torch.device("cuda")


def model_and_rows(
    settings: Settings, dataset: Dataset, device: torch.device, group: Processes = ALONE
) -> tuple[Recommender, Rows]:
    """The model and what it learns from, both on the device; in a group of processes each holds its own columns of a
    model of which that is possible."""
    graph = BipartiteGraph(dataset.clicks.users, dataset.clicks.items, dataset.n_users, dataset.n_items)
    held = not group.alone and settings.model.by_columns(**settings.model_options)
    with in_columns(group) if held else nullcontext():
        model = settings.model.from_data(dataset, graph, first_item=1, **settings.model_options)
    model.to_device(device)
    return model, model.training_rows(model.rows_of(dataset, "train"))
