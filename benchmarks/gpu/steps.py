"""Whole training steps and epochs, eager and captured, of the library and of plain PyTorch."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import torch

from ans_fast import models
from ans_fast.training.captured import CapturedStep
from ans_fast.training.loop import train_epoch
from ans_fast.training.optimizer import make_optimizer
from ans_fast.training.step import Step
from benchmarks.gpu.data import GOWALLA, GROCERY, ML_100K, Data, DataSize, made
from benchmarks.gpu.device import Gpu
from benchmarks.gpu.plain_models import PlainStep
from benchmarks.gpu.report import Section, Value

TITLE = "Training steps"
MS, EPOCH, BUSY, SHARE, PEAK = "ms a step", "s an epoch", "ms a step the GPU works", "share of the time", "peak GiB"
CAPTURED, EAGER = "ans_fast, captured", "ans_fast, eager"
LAYOUTS = ("COO", "CSR")
BATCH, DIM = 2_048, 64
PLAIN_STEPS = 30


@dataclass(frozen=True)
class Case:
    """A model on data; n_negatives: M. sampling: how LightGCN chooses negatives. precision: of hops and gate logits."""

    size: DataSize
    model: str
    n_negatives: int = 1
    sampling: str = "uniform"
    precision: str = "float32"

    def __str__(self) -> str:
        names = [self.size.name, self.model]
        names += [f"M {self.n_negatives}"] * (self.model == "ANS") + [self.sampling] * (self.sampling != "uniform")
        names += [self.precision] * (self.precision != "float32")
        return " ".join(names)

    @property
    def has_plain(self) -> bool:
        """Whether PlainStep computes the same."""
        return self.sampling == "uniform" and self.precision == "float32"

    @property
    def options(self) -> dict[str, int | str]:
        """Arguments of the model."""
        chosen = {} if self.sampling == "uniform" else {"negative_sampling": self.sampling}
        return {"num_neg": self.n_negatives, "precision": self.precision, **chosen}


CASES = (
    Case(GOWALLA, "LightGCN"),
    Case(GOWALLA, "ANS", 2),
    Case(GROCERY, "LightGCN"),
    Case(GROCERY, "ANS", 2),
    Case(GROCERY, "ANS", 16),
    Case(ML_100K, "ANS", 16),
    *(Case(GROCERY, "LightGCN", sampling=sampling) for sampling in ("DNS", "MixGCF", "DENS")),
    Case(GOWALLA, "LightGCN", precision="bf16"),
    Case(GOWALLA, "ANS", 2, precision="bf16"),
    Case(GROCERY, "LightGCN", precision="bf16"),
    Case(GROCERY, "ANS", 2, precision="bf16"),
)


def run(section: Section, gpu: Gpu, cases: tuple[Case, ...] = CASES, batch: int = BATCH, dim: int = DIM) -> None:
    """A row for each case and way to take a step.

    The library's epochs are measured whole, with shuffling and looks at the loss; its steps within them without. Plain
    PyTorch's steps are measured alone, and an epoch is as many of them as it has batches.
    """
    section.note(
        f"Batches of {batch:,}, 3 layers, D {dim}, float32 where nothing else is said. Data are made, of the real "
        "ones' sizes and degrees."
    )
    section.note(
        "PyTorch, replayed: a CUDA graph of steps whose products know that the adjacency is symmetric, since torch's "
        "own gradient of a sparse product can't be captured; symmetric: the same steps, eager."
    )
    gpu.busy_seconds(gpu.synchronize)  # the profiler sees into graphs that were captured after its start
    data: Data | None = None
    for case in section.in_time(cases):
        if data is None or data.size != case.size:
            data = made(case.size, gpu.device)
        for provider in (CAPTURED, EAGER):
            with section.attempt(f"{case}, {provider}"):
                section.add(str(case), provider, _library(gpu, data, case, provider == CAPTURED, batch, dim))
        for layout in LAYOUTS if case.has_plain else ():
            for kind in ("", ", symmetric", ", replayed"):
                with section.attempt(f"{case}, PyTorch {layout}{kind}"):
                    section.add(str(case), f"PyTorch {layout}{kind}", _plain(gpu, data, case, layout, kind, batch, dim))
        gpu.forget()


def trainer(gpu: Gpu, data: Data, case: Case, captured: bool, dim: int = DIM) -> Step:
    """The step that trains a new model of the case."""
    torch.manual_seed(0)
    model = models.by_name(case.model)(data.graph, emb_size=dim, **case.options).to_device(gpu.device)
    optimizer = make_optimizer(model, "Adam", 1e-3, 1e-5)
    return CapturedStep(model, optimizer, gpu.graphs) if captured else Step(model, optimizer)


def _library(gpu: Gpu, data: Data, case: Case, captured: bool, batch: int, dim: int) -> dict[str, Value]:
    step, n_steps = trainer(gpu, data, case, captured, dim), -(-data.size.clicks // batch)

    def epoch() -> None:
        train_epoch(step, data.rows, batch)

    def steps() -> None:
        for _ in step.epoch(data.rows, batch):
            pass

    peak = gpu.peak_bytes(epoch)  # the first, which also warms up and records
    seconds = statistics.median(gpu.seconds(epoch) for _ in range(3))
    a_step = statistics.median(gpu.seconds(steps) for _ in range(3)) / n_steps
    busy = gpu.busy_seconds(epoch)
    return _values(a_step, seconds, busy / n_steps, busy / seconds, peak)


def _plain(gpu: Gpu, data: Data, case: Case, layout: str, kind: str, batch: int, dim: int) -> dict[str, Value]:
    torch.manual_seed(0)
    step = PlainStep(data, batch, layout, kind != "", case.n_negatives, case.model == "ANS", dim)
    work = gpu.replayed(step) if kind == ", replayed" else step

    def steps() -> None:
        for _ in range(PLAIN_STEPS):
            work()

    peak = gpu.peak_bytes(work)
    a_step = statistics.median(gpu.seconds(steps) for _ in range(3)) / PLAIN_STEPS
    busy = gpu.busy_seconds(steps) / PLAIN_STEPS
    return _values(a_step, a_step * -(-data.size.clicks // batch), busy, busy / a_step, peak)


def _values(a_step: float, epoch: float, busy: float, share: float, peak: int) -> dict[str, Value]:
    return {
        MS: 1e3 * a_step,
        EPOCH: epoch,
        BUSY: 1e3 * busy,
        SHARE: f"{min(share, 1):.0%}" if busy else "unknown",
        PEAK: peak / 2**30,
    }
