"""Which step trains a model: of one process or of several, eager or captured."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ans_fast.distributed import Processes
from ans_fast.ops._backend import use_reference
from ans_fast.training.captured import CapturedStep, CudaGraphs
from ans_fast.training.optimizer import Optimizer
from ans_fast.training.shares import SharedStep
from ans_fast.training.step import Step

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender


def make_step(model: Recommender, optimizer: Optimizer, group: Processes, capture: bool = True) -> Step:
    """The step that trains `model`: one of the group, or of this process alone; on a GPU a captured one if that is
    wanted and possible. If it is wanted and not possible, the log says why."""
    apart = group.alone or model.adds_up_scores
    plain = Step(model, optimizer) if apart else SharedStep(model, optimizer, group)
    if not capture or model.device.type != "cuda":
        return plain
    obstacle = _obstacle(model, optimizer, group)
    if obstacle:
        logging.info("Steps are not captured in CUDA graphs: %s", obstacle)
        return plain
    return CapturedStep(model, optimizer, CudaGraphs)


def _obstacle(model: Recommender, optimizer: Optimizer, group: Processes) -> str | None:
    """Why steps can't be captured."""
    if not group.alone:
        return "processes wait for each other in each"
    if not model.captures:
        return f"the loss of {model.name} as it is set here waits for the GPU"
    if not all(group.get("capturable", True) for group in optimizer.param_groups):
        return f"{type(optimizer).__name__} counts its steps on the CPU"
    if use_reference():
        return "the reference backend waits for the GPU"
    return None
