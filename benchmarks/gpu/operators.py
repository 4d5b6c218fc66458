"""Times of the operators, called from Python and replayed, beside the same formulas in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from ans_fast import ops, reference
from benchmarks.cases import ScoresSize, SoftmaxSize, scores_inputs, softmax_inputs
from benchmarks.gpu.device import Gpu, Work
from benchmarks.gpu.inputs import AnsSize, ans_inputs, hardest_inputs, loss_and_gradients, random_graph
from benchmarks.gpu.plain_models import adjacency
from benchmarks.gpu.report import Section, Value
from benchmarks.plain import compiled, gathered_scores, torch_random

TITLE = "Operators"
CALLED, REPLAYED, RATE = "ms", "ms replayed", "GB/s of rows"
OURS = "ans_fast"


@dataclass(frozen=True)
class Sizes:
    """What is timed.

    ans: of ans_terms, of which torch compiles the first too; n_users, n_items: of its tables. hardest: of
    hardest_negatives. scores, softmax: of candidate_scores and log_sum_exp. widths: of propagation by a graph of so
    many users, items and clicks. draws: users to draw negatives for. copied: bytes to copy. dtypes: of rows.
    """

    ans: tuple[AnsSize, ...]
    n_users: int
    n_items: int
    hardest: AnsSize
    scores: ScoresSize
    softmax: SoftmaxSize
    widths: tuple[int, ...]
    graph: tuple[int, int, int]
    draws: int
    copied: int
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)


FULL = Sizes(
    ans=(
        AnsSize(2_048, 16, 4, 64),
        AnsSize(2_048, 64, 4, 64),
        AnsSize(2_048, 16, 4, 128),
        AnsSize(16_384, 16, 4, 64),
    ),
    n_users=6_040,
    n_items=8_714,
    hardest=AnsSize(2_048, 32, 4, 64),
    scores=ScoresSize(),
    softmax=SoftmaxSize(),
    widths=(64, 256),
    graph=(6_040, 3_706, 1_000_000),
    draws=100_000,
    copied=2**30,
)


def run(section: Section, gpu: Gpu, sizes: Sizes = FULL) -> None:
    """A row for each operator, size and provider."""
    cases: dict[str, Callable[[], None]] = {"copy": lambda: _copy(section, gpu, sizes)}
    for size in sizes.ans:
        cases[_ans_case(size)] = lambda size=size: _ans_terms(section, gpu, sizes, size)
    for width in sizes.widths:
        cases[f"propagate D {width}"] = lambda width=width: _propagate(section, gpu, sizes, width)
    for gated in (False, True):
        cases[f"hardest_negatives{', gated' if gated else ''}"] = lambda gated=gated: _hardest(
            section, gpu, sizes, gated
        )
    cases["candidate_scores"] = lambda: _scores(section, gpu, sizes)
    cases["log_sum_exp"] = lambda: _softmax(section, gpu, sizes)
    cases["sample_negatives"] = lambda: _draws(section, gpu, sizes)
    cases["torch.compile"] = lambda: _compiled_ans_terms(section, gpu, sizes)  # the last, for it compiles for long
    section.note("GB/s: of the rows that must pass through the L2 at least, at the replayed time.")
    for name in section.in_time(cases):
        torch.manual_seed(0)
        with section.attempt(name):
            cases[name]()
        gpu.forget()


def _time(section: Section, gpu: Gpu, case: str, provider: str, work: Work, moved: float | None = None) -> None:
    """Adds a row. moved: the bytes of rows."""
    with section.attempt(f"{case}, {provider}"):
        replayed = gpu.median_ms(gpu.replayed(work))
        values: dict[str, Value] = {CALLED: gpu.median_ms(work), REPLAYED: replayed}
        if moved:
            values[RATE] = moved / replayed / 1e6
        section.add(case, provider, values)


def _copy(section: Section, gpu: Gpu, sizes: Sizes) -> None:
    block = torch.empty(sizes.copied, dtype=torch.uint8, device=gpu.device)
    _time(section, gpu, f"copy of {sizes.copied:,} bytes", "", block.clone, 2 * sizes.copied)


def _provider(dtype: torch.dtype) -> str:
    return OURS if dtype == torch.float32 else f"{OURS} {str(dtype).removeprefix('torch.')}"


def _ans_case(size: AnsSize) -> str:
    return f"ans_terms {size}, forward and backward"


def _ans_work(
    gpu: Gpu, sizes: Sizes, size: AnsSize, ans_terms: Callable, dtype: torch.dtype = torch.float32, plain: bool = False
) -> Work:
    """A pass through ans_terms; plain: with torch's random numbers."""
    tables, ids = ans_inputs(size, sizes.n_users, sizes.n_items, dtype, gpu.device)
    seed = torch.tensor([7], device=gpu.device)

    def work() -> None:
        with torch_random() if plain else nullcontext():
            loss_and_gradients(ans_terms, tables, ids, seed)

    return work


def _ans_terms(section: Section, gpu: Gpu, sizes: Sizes, size: AnsSize) -> None:
    for dtype in sizes.dtypes:
        # Forward reads a row and its gate; backward reads them again and adds to both gradients, in float32.
        moved = size.B * size.M * size.H * size.D * (4 * dtype.itemsize + 2 * 4)
        work = _ans_work(gpu, sizes, size, ops.ans_terms, dtype)
        _time(section, gpu, _ans_case(size), _provider(dtype), work, moved)
    # Not replayed: torch.where of plain numbers copies them to the GPU, which no graph records.
    eager = _ans_work(gpu, sizes, size, reference.ans_terms, plain=True)
    section.add(_ans_case(size), "eager", {CALLED: gpu.median_ms(eager)})


def _compiled_ans_terms(section: Section, gpu: Gpu, sizes: Sizes) -> None:
    work = _ans_work(gpu, sizes, sizes.ans[0], compiled(reference.ans_terms), plain=True)
    try:
        work()
    except Exception as error:  # without a C compiler or Triton there is none
        section.note(f"torch.compile does not work here: {type(error).__name__}.")
    else:
        _time(section, gpu, _ans_case(sizes.ans[0]), "torch.compile", work)


def _propagate(section: Section, gpu: Gpu, sizes: Sizes, width: int) -> None:
    graph = random_graph(*sizes.graph, gpu.device)
    case = f"propagate, one layer, D {width}, {2 * graph.n_edges:,} neighbours"
    x = torch.randn(graph.n_nodes, width, device=gpu.device)
    for dtype in sizes.dtypes:
        rows = x.to(dtype)
        moved = 2 * graph.n_edges * (dtype.itemsize * width + 8)
        _time(section, gpu, case, _provider(dtype), lambda rows=rows: ops.propagate(rows, graph, 1), moved)
    for layout in ("COO", "CSR"):
        matrix = adjacency(graph, layout)
        _time(section, gpu, case, f"PyTorch {layout}", lambda matrix=matrix: matrix @ x)


def _hardest(section: Section, gpu: Gpu, sizes: Sizes, gated: bool) -> None:
    size = sizes.hardest
    case = f"hardest_negatives {size}{', gated' if gated else ''}"
    for dtype in sizes.dtypes:
        inputs = hardest_inputs(size, sizes.n_items, dtype, gpu.device)[: 5 if gated else 3]
        moved = size.B * size.M * size.H * (size.D * dtype.itemsize * (1 + gated) + 8)
        _time(section, gpu, case, _provider(dtype), lambda inputs=inputs: ops.hardest_negatives(*inputs), moved)
    inputs = hardest_inputs(size, sizes.n_items, torch.float32, gpu.device)[: 5 if gated else 3]
    _time(section, gpu, case, "eager", lambda: reference.hardest_negatives(*inputs))


def _pass(function: Callable[..., Tensor], rows: list[Tensor], dtype: torch.dtype, *rest: Tensor) -> Work:
    """Forward, and backward by both rows."""
    leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in rows]
    grad = torch.ones_like(function(*leaves, *rest))
    return lambda: torch.autograd.grad(function(*leaves, *rest), leaves, grad)


def _scores(section: Section, gpu: Gpu, sizes: Sizes) -> None:
    size, case = sizes.scores, f"candidate_scores {sizes.scores}, forward and backward"
    *rows, candidates = (tensor.to(gpu.device) for tensor in scores_inputs(size))
    for dtype in sizes.dtypes:
        # Forward reads a row; backward reads it again and adds to its gradient, in float32.
        moved = size.B * size.M * size.D * (2 * dtype.itemsize + 4)
        work = _pass(ops.candidate_scores, rows, dtype, candidates)
        _time(section, gpu, case, _provider(dtype), work, moved)

    _time(section, gpu, case, "eager", _pass(gathered_scores, rows, torch.float32, candidates))


def _softmax(section: Section, gpu: Gpu, sizes: Sizes) -> None:
    case = f"log_sum_exp {sizes.softmax}, forward and backward"
    *rows, query_ids, key_ids = (tensor.to(gpu.device) for tensor in softmax_inputs(sizes.softmax))
    for dtype in sizes.dtypes:
        work = _pass(ops.log_sum_exp, rows, dtype, query_ids, key_ids)
        _time(section, gpu, case, _provider(dtype), work)
    _time(section, gpu, case, "eager", _pass(reference.log_sum_exp, rows, torch.float32, query_ids, key_ids))


def _draws(section: Section, gpu: Gpu, sizes: Sizes) -> None:
    graph = random_graph(*sizes.graph, gpu.device)
    users = torch.randint(graph.n_users, (sizes.draws,), device=gpu.device)
    seed = torch.tensor([3], device=gpu.device)
    case = f"sample_negatives B {sizes.draws:,} M 16"
    _time(section, gpu, case, OURS, lambda: ops.sample_negatives(graph, users, 16, seed, 1))
