"""Every operator against the reference in float64, captured steps against eager ones; with neither pytest nor SciPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor

from ans_fast import BipartiteGraph, ops, reference
from ans_fast.training.loop import train_epoch
from benchmarks.gpu.data import DataSize, made
from benchmarks.gpu.device import Gpu
from benchmarks.gpu.report import Section
from benchmarks.gpu.steps import Case, trainer

TITLE = "Checks"
GRADIENTS = ("user_hops", "item_hops", "user_gate", "item_gate", "margin_weight", "margin_bias")
WEIGHTS = (0.7, -1.3, 0.4, 0.9)  # of the four terms in the loss whose gradients are compared
# Of norms, relative; sums are in float32 whatever the rows are.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
# Gradients of a mean over many pairs lie below float16's normal range: the loss is scaled, as in mixed precision.
LOSS_SCALE = {torch.float16: 1024.0}
NEAR = 1e-5  # how far a choice may score below the best, relative to the pair's largest score: both are rounded
TABLE = 90  # items; 40 users

Check = Callable[[], str]


@dataclass(frozen=True)
class AnsSize:
    """B pairs, M negatives, H hops, D wide; ragged: pairs have unequally many negatives."""

    B: int
    M: int
    H: int
    D: int
    ragged: bool = False

    def __str__(self) -> str:
        return f"B {self.B} M {self.M} H {self.H} D {self.D}"


ANS_SIZES = (
    AnsSize(5, 7, 3, 64),
    AnsSize(1, 1, 1, 1),
    AnsSize(3, 5, 2, 7, ragged=True),
    AnsSize(6, 9, 2, 128, ragged=True),
    AnsSize(3, 5, 2, 256, ragged=True),
    AnsSize(20, 3, 2, 300),
    AnsSize(4, 6, 2, 1000, ragged=True),
    AnsSize(700, 16, 4, 32, ragged=True),
    AnsSize(2048, 16, 4, 64),
)
HARDEST_SIZES = tuple(
    AnsSize(*size)
    for size in ((5, 7, 3, 7), (9, 5, 1, 100), (6, 9, 2, 128), (5, 4, 2, 256), (90, 5, 2, 1000), (700, 32, 4, 64))
)
WIDTHS = (1, 7, 64, 100, 256, 300, 512)
SMALL = 20  # pairs at most, of what racecheck gets through
TINY = DataSize("tiny", 10_540, 900, 700, (3, 5, 8, 12, 20, 30, 60, 90, 100), (1, 5, 10, 15, 30, 50, 100, 150, 200))
STEP_CASES = (
    Case(TINY, "LightGCN"),
    Case(TINY, "ANS", 2),
    *(Case(TINY, "LightGCN", sampling=sampling) for sampling in ("DNS", "MixGCF", "DENS")),
    Case(TINY, "LightGCN", precision="bf16"),
    Case(TINY, "ANS", 2, precision="bf16"),
)


def run(section: Section, gpu: Gpu, small: bool = False, dtypes: tuple[torch.dtype, ...] = tuple(TOLERANCE)) -> None:
    """A row for each check; those that fail are told. small: only those of few pairs. dtypes: of rows."""
    checks = all_checks(gpu, small, dtypes)
    for name in section.in_time(checks):
        torch.manual_seed(0)
        with section.attempt(name):
            found = checks[name]()
            gpu.synchronize()
            section.add(name, "", {"result": "passed", "found": found})


def all_checks(gpu: Gpu, small: bool, dtypes: tuple[torch.dtype, ...]) -> dict[str, Check]:
    """The checks by name."""
    checks: dict[str, Check] = {
        "draws": lambda: check_draws(gpu.device),
        "distinct_ids": lambda: check_distinct_ids(gpu.device),
        "cuda graph": lambda: check_replays(gpu),
    }
    if not small:
        checks |= {f"captured steps {case}": lambda case=case: check_captured_steps(gpu, case) for case in STEP_CASES}
    for dtype in dtypes:
        name = str(dtype).removeprefix("torch.")
        for size in ANS_SIZES:
            if not small or size.B <= SMALL:
                checks[f"ans_terms {size} {name}"] = lambda size=size, dtype=dtype: check_ans_terms(
                    size, dtype, gpu.device
                )
        for size in HARDEST_SIZES:
            if not small or size.B <= SMALL:
                checks[f"hardest_negatives {size} {name}"] = lambda size=size, dtype=dtype: check_hardest_negatives(
                    size, dtype, gpu.device
                )
        for dim in WIDTHS if not small else WIDTHS[1:3]:
            checks[f"propagate D {dim} {name}"] = lambda dim=dim, dtype=dtype: check_propagate(dim, dtype, gpu.device)
    if torch.float32 in dtypes:
        for dim in (7, 64) if small else (1, 7, 64, 100, 300):
            checks[f"log_sum_exp D {dim} float32"] = lambda dim=dim: check_log_sum_exp(dim, gpu.device)
    return checks


# --- Inputs ----------------------------------------------------------------------------------------------------------


def random_graph(n_users: int, n_items: int, n_edges: int, device: torch.device) -> BipartiteGraph:
    """Few items have most clicks."""
    users = torch.randint(n_users, (n_edges,), device=device)
    return BipartiteGraph(users, (n_items * torch.rand(n_edges, device=device) ** 2).long(), n_users, n_items)


def ans_inputs(
    size: AnsSize, n_users: int, n_items: int, dtype: torch.dtype, device: torch.device
) -> tuple[list[Tensor], list[Tensor | None]]:
    """The differentiable arguments of ans_terms, and its ids."""
    rows, dim = (size.H, size.D), size.D
    shapes = [(n_users, *rows), (n_items, *rows), (size.B, *rows), (n_items, *rows), (dim,), (1,)]
    tables = [(torch.randn(shape, device=device) * dim**-0.25).to(dtype) for shape in shapes]
    ids = [torch.randint(n, (size.B,), device=device) for n in (n_users, n_items)]
    ids.append(torch.randint(n_items, (size.B, size.M), device=device))
    return tables, [*ids, torch.randint(1, size.M + 1, (size.B,), device=device) if size.ragged else None]


def hardest_inputs(size: AnsSize, n_items: int, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """user_rows, item_hops, candidates, item_gate, pos_gate; one negative to choose for each pair."""
    rows = [torch.randn(n, size.H, size.D, device=device).to(dtype) for n in (size.B, n_items, n_items, size.B)]
    return [*rows[:2], torch.randint(n_items, (size.B, 1, size.M), device=device), *rows[2:]]


def loss_and_gradients(ans_terms: Callable, tables: list[Tensor], ids: list, seed: Tensor, scale: float = 1.0) -> tuple:
    """Terms [4], selected, and the gradients of `scale` times a weighted sum of the terms. Makes nothing on the CPU."""
    leaves = [table.detach().requires_grad_() for table in tables]
    terms = ans_terms(*leaves, *ids, eps=0.3, noise_scale=0.2, seed=seed)
    total = sum(weight * scale * term for weight, term in zip(WEIGHTS, terms[:4], strict=True))
    return torch.stack(terms[:4]).detach(), terms.selected, torch.autograd.grad(total, leaves)


def error_of(got: Tensor, want: Tensor) -> float:
    """Relative, of norms; infinite where something is not finite."""
    return float((got.double() - want).norm() / want.norm().clamp_min(1e-9)) if got.isfinite().all() else float("inf")


@contextmanager
def chosen(selected: Tensor) -> Iterator[list[float]]:
    """Within the block the reference chooses the negatives `selected` [B, H], and notes how far below the best they
    score, relative to the largest score of their pair and hop. So a near tie that rounding turned over is no error, in
    the gradients either."""
    shortfalls: list[float] = []

    def hardest_of(scores: Tensor, dim: int) -> Tensor:
        own = scores.gather(dim, selected.unsqueeze(dim)).squeeze(dim)
        largest = scores.masked_fill(scores.isinf(), 0).abs().amax(dim)
        shortfalls.append(float(((scores.amax(dim) - own) / largest.clamp_min(1e-30)).max()))
        return selected

    with mock.patch.object(reference, "hardest_of", hardest_of):
        yield shortfalls


# --- Checks: each raises AssertionError, or says what it found -------------------------------------------------------


def check_ans_terms(size: AnsSize, dtype: torch.dtype, device: torch.device) -> str:
    """Terms, choices and gradients, by atomics and in a fixed order."""
    tables, ids = ans_inputs(size, 40, TABLE, dtype, device)
    seed, scale = torch.tensor([123456789]), LOSS_SCALE.get(dtype, 1.0)
    wide, worst, shortfall = [table.double() for table in tables], 0.0, 0.0
    for deterministic in (False, True):
        torch.use_deterministic_algorithms(deterministic)
        try:
            got = loss_and_gradients(ops.ans_terms, tables, ids, seed, scale)
            again = loss_and_gradients(ops.ans_terms, tables, ids, seed.to(device), scale)
        finally:
            torch.use_deterministic_algorithms(False)
        assert torch.equal(got[0], again[0]), "the terms' bits differ between two runs"
        assert torch.equal(got[1], again[1]), "the choices differ between two runs"
        if deterministic:
            assert all(map(torch.equal, got[2], again[2])), "the deterministic path gave other bits"
        assert ((got[1] >= 0) & (got[1] < size.M)).all(), "a choice is no negative"
        with chosen(got[1]) as shortfalls:
            want = loss_and_gradients(reference.ans_terms, wide, ids, seed.to(device), scale)
        shortfall = max(shortfall, *shortfalls)
        assert shortfall <= NEAR, f"a choice scores {shortfall:.1e} below the best"
        errors = dict(zip(GRADIENTS, map(error_of, got[2], want[2]), strict=True)) | {
            "terms": error_of(got[0], want[0])
        }
        name, off = max(errors.items(), key=lambda item: item[1])
        assert off <= TOLERANCE[dtype], f"{name} is off by {off:.1e}, deterministic={deterministic}"
        worst = max(worst, off)
    return f"relative error {worst:.1e}, choices {shortfall:.1e} below the best"


def check_propagate(dim: int, dtype: torch.dtype, device: torch.device) -> str:
    """All nodes and some of them, their hops and the mean of these, and gradients."""
    graph = random_graph(300, 200, 6_000, device)
    x = torch.randn(graph.n_nodes, dim, device=device).to(dtype)
    some = torch.randint(graph.n_nodes, (70,), device=device)
    worst = 0.0
    for nodes in (None, some):
        for name in ("propagate", "propagate_mean"):
            operator = getattr(ops, name)
            narrow, wide = x.clone().requires_grad_(), x.double().requires_grad_()
            want = reference.propagate(wide, graph, 3)
            want = want if nodes is None else want.index_select(0, nodes)
            want = want.mean(1) if name == "propagate_mean" else want
            got = operator(narrow, graph, 3, nodes)
            assert torch.equal(got, operator(x, graph, 3, nodes)), f"the bits of {name} differ between two runs"
            grad = torch.randn(want.shape, device=device).to(dtype)
            want.backward(grad.double())
            got.backward(grad)
            off = max(error_of(got.detach(), want.detach()), error_of(narrow.grad, wide.grad))
            assert off <= 3 * TOLERANCE[dtype], f"{name} of {'all' if nodes is None else 'some'} is off by {off:.1e}"
            worst = max(worst, off)
    return f"relative error {worst:.1e}"


def check_hardest_negatives(size: AnsSize, dtype: torch.dtype, device: torch.device) -> str:
    """Choices with and without gates, ties, and ids out of range."""
    inputs = hardest_inputs(size, TABLE, dtype, device)
    wide = [tensor.double() if tensor.is_floating_point() else tensor for tensor in inputs]
    (user_rows, item_hops, candidates, item_gate, pos_gate), hop = wide, torch.arange(size.H, device=device)
    differing = 0
    for gated in (False, True):
        n = 5 if gated else 3
        got, want = ops.hardest_negatives(*inputs[:n]), reference.hardest_negatives(*wide[:n])

        def score(choice: Tensor, gated: bool = gated) -> Tensor:
            gate = (item_gate[choice, hop] + pos_gate[:, None]).sigmoid() if gated else 0
            return (user_rows[:, None] * item_hops[choice, hop] * (1 - gate)).sum(-1)

        best = score(want)
        shortfall = float(((best - score(got)) / best.abs().clamp_min(1)).max())
        assert shortfall <= NEAR, f"a choice scores {shortfall:.1e} below the best, {gated=}"
        differing += int((got != want).sum())
    equal_rows = inputs[1][:1].expand_as(inputs[1]).contiguous()
    first = ops.hardest_negatives(inputs[0], equal_rows, candidates)
    assert torch.equal(first, candidates[..., :1].expand_as(first)), "a tie does not go to the first"
    return f"{differing} of {2 * want.numel()} choices turned over by rounding"


def check_log_sum_exp(dim: int, device: torch.device) -> str:
    """Values and gradients, with equal ids left out."""
    inputs = [torch.randn(n, dim, device=device) * dim**-0.5 for n in (150, 130)]
    ids = [torch.randint(TABLE, (n,), device=device) for n in (150, 130)]
    bias, weights = torch.randn(130, device=device), torch.randn(150, device=device)

    def values_and_gradients(function: Callable, dtype: torch.dtype) -> list[Tensor]:
        leaves = [tensor.to(dtype).requires_grad_() for tensor in inputs]
        values = function(*leaves, *ids, bias.to(dtype), 3.0)
        return [values.detach(), *torch.autograd.grad((values * weights.to(dtype)).sum(), leaves)]

    got = values_and_gradients(ops.log_sum_exp, torch.float32)
    want = values_and_gradients(reference.log_sum_exp, torch.float64)
    worst = max(map(error_of, got, want))
    assert worst <= TOLERANCE[torch.float32], f"off by {worst:.1e}"
    return f"relative error {worst:.1e}"


def check_distinct_ids(device: torch.device) -> str:
    """Ids that all occur, that are few and that fill more than a block of threads."""
    for n, n_ids in ((1, 5), (300, 4_000), (100_000, 20), (100_000, 60_000)):
        ids = torch.randint(n, (n_ids,), device=device)
        for got, want in zip(ops.distinct_ids(ids, n), reference.distinct_ids(ids, n), strict=True):
            assert torch.equal(got, want), f"{n_ids} of {n} ids differ"
    return "equal to the reference"


def check_draws(device: torch.device) -> str:
    """The same numbers as the reference, and as on the CPU."""
    graph, seed = random_graph(300, 200, 6_000, device), torch.tensor([-987654321])
    users = torch.arange(300, device=device)
    got = ops.sample_negatives(graph, users, 13, seed, 1)
    assert torch.equal(got, reference.sample_negatives(graph, users, 13, seed.to(device), 1)), "negatives differ"
    noise = ops.ans_noise(seed.to(device), 50, 33)
    assert torch.equal(noise.cpu(), ops.ans_noise(seed, 50, 33)), "GPU and CPU draw apart"
    return "equal to the reference and to the CPU's"


def check_replays(gpu: Gpu) -> str:
    """What was captured once and is replayed with other seeds equals what is called with them."""
    tables, ids = ans_inputs(AnsSize(64, 8, 3, 64), 40, TABLE, torch.float32, gpu.device)
    seed, given = torch.tensor([1], device=gpu.device), []

    def step() -> None:
        given[:] = loss_and_gradients(ops.ans_terms, tables, ids, seed)

    replay = gpu.replayed(step)
    for value in (5, 6):
        seed.fill_(value)
        replay()
        alone = loss_and_gradients(ops.ans_terms, tables, ids, torch.tensor([value]))
        assert torch.equal(given[0], alone[0]), "a replay gave another loss"
        assert error_of(given[2][1], alone[2][1].double()) < 1e-5, "a replay gave other gradients"
    return "replays with new seeds equal calls"


def check_captured_steps(gpu: Gpu, case: Case) -> str:
    """Epochs of captured steps, the last one short, are those of eager ones: to rounding, since atomics add up in any
    order."""
    data, results = made(case.size, gpu.device), []
    for captured in (False, True):
        step = trainer(gpu, data, case, captured)
        losses = torch.tensor([train_epoch(step, data.rows, 2_048) for _ in range(3)])
        results.append((losses, torch.cat([p.detach().flatten() for p in step.model.parameters()])))
    (eager, weights), (captured, weights_captured) = results
    assert error_of(captured, eager.double()) <= 1e-5, f"losses are {captured.tolist()}, eager {eager.tolist()}"
    off = error_of(weights_captured, weights.double())
    assert off <= 1e-3, f"weights are off by {off:.1e}"
    return f"relative error of weights {off:.1e}"
