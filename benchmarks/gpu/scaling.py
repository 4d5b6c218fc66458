"""Step time and memory of graphs that grow until none fits any more."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ans_fast import BipartiteGraph, ops
from ans_fast.models import LightGCN
from ans_fast.training.batches import Rows
from ans_fast.training.captured import CapturedStep
from ans_fast.training.optimizer import make_optimizer
from ans_fast.training.step import Step
from benchmarks.gpu.device import Gpu
from benchmarks.gpu.plain_models import adjacency
from benchmarks.gpu.report import Section, Value
from benchmarks.gpu.steps import CAPTURED, EAGER

TITLE = "Larger graphs"
MILLION = 1_000_000
STEP, PEAK, LAYER = "ms a step", "peak GiB", "ms a layer"
CLICKS_A_USER, CLICKS_AN_ITEM = 50, 150
BATCH, DIM = 65_536, 64


def sizes() -> Iterator[int]:
    """Clicks of the graphs: from 1 to 100 million, and then twice as many each time."""
    yield from (MILLION, 5 * MILLION, 20 * MILLION, 50 * MILLION, 100 * MILLION)
    clicks = 200 * MILLION
    while clicks < 2**31:  # more than that torch does not sort at once
        yield clicks
        clicks *= 2


def run(section: Section, gpu: Gpu, clicks: list[int] | None = None, batch: int = BATCH, dim: int = DIM) -> None:
    """A row for each number of clicks, until the GPU's memory or the section's time is used up."""
    section.note(
        f"LightGCN, batches of {batch:,}, 3 layers, D {dim}, float32; {CLICKS_A_USER} clicks a user and "
        f"{CLICKS_AN_ITEM} an item, before repeated ones count once."
    )
    numbers = {f"{number / MILLION:g} million clicks": number for number in clicks or sizes()}
    for name in section.in_time(numbers):
        try:
            _measure(section, gpu, name, numbers[name], batch, dim)
        except Exception as error:
            if not isinstance(error.__cause__ or error, torch.OutOfMemoryError):  # the cause, of a failed capture
                raise
            section.note(f"{name} do not fit into the GPU's memory.")
            break
        finally:
            gpu.forget()
    fitted = [row.case for row in section.rows if PEAK in row.values]
    if fitted:
        section.note(f"The largest graph that was trained on: {fitted[-1]}.")


def _clicks(clicks: int, device: torch.device) -> tuple[Tensor, Tensor, int, int]:
    """Users, all alike, and items, of which few have most clicks; and how many there are of either."""
    torch.manual_seed(0)
    n_users, n_items = max(clicks // CLICKS_A_USER, 2), max(clicks // CLICKS_AN_ITEM, 2)
    users = torch.randint(n_users, (clicks,), device=device, dtype=torch.int32)
    items = torch.rand(clicks, device=device).pow_(3).mul_(n_items).int().clamp_(max=n_items - 1)
    return users, items, n_users, n_items


def _graph(gpu: Gpu, clicks: int, batch: int) -> tuple[BipartiteGraph, Rows, float]:
    """The graph, `batch` of its clicks, and the seconds that building it took."""
    sides, made = _clicks(clicks, gpu.device), []
    seconds = gpu.seconds(lambda: made.append(BipartiteGraph(*sides)))
    return made[0], Rows(*(ids[:batch].long() for ids in sides[:2])), seconds


def _measure(section: Section, gpu: Gpu, name: str, clicks: int, batch: int, dim: int) -> None:
    graph, rows, seconds = _graph(gpu, clicks, batch)
    gpu.forget()
    section.add(name, "graph", {"s to build": seconds, "edges": f"{graph.n_edges:,}"})
    for provider in (EAGER, CAPTURED):
        section.add(name, provider, _steps(gpu, graph, rows, provider == CAPTURED, dim))
        gpu.forget()
    _layers(section, gpu, graph, name, dim)


def _steps(gpu: Gpu, graph: BipartiteGraph, rows: Rows, captured: bool, dim: int) -> dict[str, Value]:
    model = LightGCN(graph, emb_size=dim).to_device(gpu.device)
    optimizer = make_optimizer(model, "Adam", 1e-3, 0.0)
    step = CapturedStep(model, optimizer, gpu.graphs) if captured else Step(model, optimizer)

    def one() -> None:
        for _ in step.epoch(rows, len(rows)):
            pass

    peak = gpu.peak_bytes(one)
    return {STEP: gpu.median_ms(one), PEAK: peak / 2**30}


def _layers(section: Section, gpu: Gpu, graph: BipartiteGraph, name: str, dim: int) -> None:
    """One layer of propagation alone: of float32 and bfloat16 rows, and torch's product."""
    x = torch.randn(graph.n_nodes, dim, device=gpu.device)
    for dtype in (torch.float32, torch.bfloat16):
        rows = x.to(dtype)
        ms = gpu.median_ms(lambda rows=rows: ops.propagate(rows, graph, 1))
        section.add(name, f"propagate {str(dtype).removeprefix('torch.')}", {LAYER: ms})
    try:
        matrix = adjacency(graph, "CSR")
        layer: Value = gpu.median_ms(lambda: matrix @ x)
    except torch.OutOfMemoryError:
        layer = "does not fit"
    section.add(name, "PyTorch CSR", {LAYER: layer})
