"""The operators' cases: one set of inputs, tolerances and rules for every place where operators run.

A place is the reference, the CPU, the SIMT harness or a GPU. Inputs are drawn in float64 on the CPU and rounded to the
rows' dtype; the truth is the reference in float64 on what was rounded, so that only a place's own arithmetic counts.
Imports torch, numpy and ans_fast alone: benchmarks/gpu can run the cases where pytest is not installed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from ans_fast import BipartiteGraph, ops, reference

# Relative errors of a result's norm, by its dtype. Kernels add short rows up in float32 and round what they store: each
# hop once more.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
LARGEST = 4096.0  # what the largest gradient is scaled to in float16, which ends at 65,504
LONG = (torch.float64, torch.float32)
SHORT = (torch.bfloat16, torch.float16)
ORDERED = ("ans_terms", "candidate_scores")  # those whose sums on a GPU have one order where torch is told so
ROWS = ("propagate", "propagate_mean")  # whose results have the rows' dtype; those of others are at least float32
SEED = 98765432109876


class Case(NamedTuple):
    """An operator with its arguments: floating-point ones in float64, all on the CPU."""

    name: str
    operator: str
    inputs: dict[str, Any]
    by: tuple[str, ...] = ()  # the arguments that it is differentiated by


class Result(NamedTuple):
    """Values, the choices among them (ANS's alone), and gradients of `cotangent`'s sums by name."""

    value: Tensor
    choice: Tensor | None
    gradients: dict[str, Tensor]


class Place:
    """ans_fast.ops on a device and a backend.

    Args:
        name: the place's, for messages.
        dtypes: of rows.
        deterministic: whether to run with torch's deterministic algorithms.
        lacks: operators that it does not have.
        rounding: how far a result may be off besides, in units in the last place of 1.
        of_sums: the relative error of float32 rows that are nothing but sums: less where long ones are added in parts.
    """

    def __init__(
        self,
        name: str,
        device: str = "cpu",
        backend: str = "fused",
        dtypes: tuple[torch.dtype, ...] = LONG,
        deterministic: bool = False,
        lacks: tuple[str, ...] = (),
        rounding: float = 0.0,
        of_sums: float = 2.5e-6,
    ):
        self.name, self.device, self.backend = name, device, backend
        self.dtypes, self.deterministic, self.lacks = dtypes, deterministic, lacks
        self.rounding, self.of_sums = rounding, of_sums

    def run(self, case: Case, scale: float = 1.0) -> Result:
        """The operator's result on this place, back on the CPU; gradients are of `scale` times the loss."""
        inputs = {name: _to(value, self.device) for name, value in case.inputs.items()}
        leaves = [inputs[name].requires_grad_() for name in case.by]
        before = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(self.deterministic)
        try:
            with ops.backend(self.backend):
                value, choice = split(getattr(ops, case.operator)(**inputs))
            gradients = [None] * len(leaves)  # of a result that depends on none of them
            if value.requires_grad:
                gradients = torch.autograd.grad(value, leaves, cotangent(value, scale), allow_unused=True)
        finally:
            torch.use_deterministic_algorithms(before)
        filled = (torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, gradients, strict=True))
        of_names = {name: g.detach().cpu() for name, g in zip(case.by, filled, strict=True)}
        return Result(value.detach().cpu(), None if choice is None else choice.cpu(), of_names)


# Autograd rounds every step of ANS's backward pass, whose numbers are near 1; the margin's gradient is what is left
# where they cancel, down to 1e-10 of them, so that its own size says nothing about the error. Kernels fold the steps.
REFERENCE = Place("reference", backend="reference", rounding=4.0, of_sums=1e-5)
CPU = Place("cpu", dtypes=(*LONG, torch.bfloat16))
NOT_CUDA = ("gru_states",)  # on a GPU torch.nn.GRU is the fast way
NOT_SHORT = ("gru_states", "top_k_bpr")  # whose arguments are float32 or float64
CUDA = Place("cuda", "cuda", dtypes=(torch.float32, *SHORT), lacks=NOT_CUDA)
DETERMINISTIC_CUDA = Place(
    "deterministic cuda", "cuda", dtypes=(torch.float32, *SHORT), deterministic=True, lacks=NOT_CUDA
)


def split(result: Any) -> tuple[Tensor, Tensor | None]:
    """A result as one tensor, and what ANS selected."""
    if isinstance(result, reference.AnsTerms):
        return torch.cat([torch.stack(result[:4]), result.differences]), result.selected
    return (torch.cat(result) if isinstance(result, tuple) else result), None


def cotangent(value: Tensor, scale: float = 1.0) -> Tensor:
    """Factors of a result's elements in the loss: of both signs; 0 for what is infinite."""
    factors = torch.linspace(-1, 2, value.numel(), device=value.device).view(value.shape).to(value.dtype)
    return factors.masked_fill(~value.detach().isfinite(), 0) * scale


def rounded(case: Case, dtype: torch.dtype) -> Case:
    """The case with rows of `dtype`; a bias stays float32 beside shorter rows."""
    wider = torch.promote_types(dtype, torch.float32)

    def to(name: str, value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        return value.to(wider if name == "key_bias" else dtype)

    return case._replace(inputs={name: to(name, value) for name, value in case.inputs.items()})


def check(place: Place, case: Case, dtype: torch.dtype) -> str:
    """AssertionError unless the place gives the case's right results; how far off they are."""
    case = rounded(case, dtype)
    scale = loss_scale(case) if dtype == torch.float16 else 1.0
    got = place.run(case, scale)
    if case.operator == "hardest_negatives":
        assert got.value.dtype == torch.int64
        with _choosing(index_of(case.inputs["candidates"], got.value), dtype):
            REFERENCE.run(rounded(case, torch.float64))
        return "choices within rounding of the best"
    if not got.value.is_floating_point() or case.operator == "ans_noise":
        same = torch.equal(got.value, REFERENCE.run(case).value)
        assert same, f"{case.name}: differs from the reference on {place.name}"
        return "equal to the reference"
    with _choosing(got.choice, dtype):
        want = REFERENCE.run(rounded(case, torch.float64), scale)
    of = {"value": (got.value, want.value)} | {name: (got.gradients[name], want.gradients[name]) for name in case.by}
    stored = dtype if case.operator in ROWS else torch.promote_types(dtype, torch.float32)
    assert got.value.dtype == stored, f"{case.name}, {dtype}: the result is {got.value.dtype} on {place.name}"
    beside, worst = place.rounding * torch.finfo(dtype).eps, 0.0
    for name, (have, exact) in of.items():
        off = error_of(have, exact, beside)
        most = TOLERANCE[have.dtype]
        if case.operator in ROWS:
            most = place.of_sums if have.dtype == torch.float32 else most * max(1, case.inputs["n_layers"])
        assert off <= most, f"{case.name}, {dtype}: {name} is off by {off:.1e} on {place.name}"
        worst = max(worst, off)
    return f"relative error {worst:.1e}"


def loss_scale(case: Case) -> float:
    """As mixed-precision training scales its loss: gradients below float16's normal range have few bits, and those
    beyond it none."""
    gradients = REFERENCE.run(rounded(case, torch.float64)).gradients.values()
    largest = max((float(g.abs().max()) for g in gradients if g.numel()), default=0.0)
    return 2.0 ** math.floor(math.log2(LARGEST / largest)) if largest else 1.0


def error_of(got: Tensor, want: Tensor, beside: float = 0.0) -> float:
    """The relative error of the norm, beyond what is nothing, `beside`, or what numbers of got's dtype below its normal
    range are rounded by; infinite elements must be equal."""
    assert got.shape == want.shape, f"got {list(got.shape)} for {list(want.shape)}"
    finite = want.isfinite()
    if not torch.equal(got[~finite].double(), want[~finite].double()) or not got[finite].isfinite().all():
        return float("inf")
    difference, size = (got.double() - want)[finite].norm(), want[finite].norm()
    limits = torch.finfo(got.dtype)
    nothing = max(1e-12, beside, limits.eps * limits.tiny / 2 * got.numel() ** 0.5)
    return float((difference - nothing).clamp_min(0) / size.clamp_min(1e-9))


def index_of(candidates: Tensor, chosen: Tensor) -> Tensor:
    """[B, K, H], where among candidates [B, K, M] the chosen items [B, K, H] come first."""
    same = candidates[..., None] == chosen[:, :, None]
    assert same.any(2).all(), "an item was chosen that is no candidate"
    return same.byte().argmax(2)


@contextmanager
def _choosing(index: Tensor | None, dtype: torch.dtype) -> Iterator[None]:
    """The reference chooses `index`, if each choice is right: in float64 the very one, else within rounding."""
    best_of = reference.hardest_of

    def choose(scores: Tensor, dim: int) -> Tensor:
        best = best_of(scores, dim)
        if dtype == torch.float64:
            assert torch.equal(index, best), "a choice is not the best"
        if scores.numel():
            margin = 1e-5 * scores[scores.isfinite()].abs().max().clamp_min(1)
            below = scores.amax(dim) - scores.gather(dim, index.unsqueeze(dim)).squeeze(dim)
            assert below.max() <= margin, f"a choice scores {below.max():.1e} below the best"
        return index

    with mock.patch.object(reference, "hardest_of", best_of if index is None else choose):
        yield


def _to(value: Any, device: str) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone().to(device)
    return value.to(device) if isinstance(value, BipartiteGraph) else value


# --- Inputs ----------------------------------------------------------------------------------------------------------


def random_graph(n_users: int, n_items: int, n_pairs: int) -> BipartiteGraph:
    """Items' popularity is very unequal; the last user and the last item stay without edges."""
    rng = np.random.default_rng(n_pairs)
    items = ((n_items - 1) * rng.random(n_pairs) ** 2).astype(np.int64)
    return BipartiteGraph(rng.integers(0, n_users - 1, n_pairs), items, n_users, n_items)


class Draws:
    """Random tensors that depend on the numbers given alone."""

    def __init__(self, *numbers: int):
        self.generator = torch.Generator().manual_seed(sum(n * 31**at for at, n in enumerate(numbers)))

    def rows(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def ids(self, n: int, *shape: int) -> Tensor:
        return torch.randint(n, shape, generator=self.generator)


def ans_case(
    pairs: int,
    negatives: int,
    hops: int,
    dim: int,
    ragged: bool,
    first_pair: int = 0,
    n_users: int = 7,
    n_items: int = 11,
    seed: int = 0,
) -> Case:
    """Few users and items, so that ids repeat and a negative can be the positive; padding is no item. seed: of the
    inputs."""
    draws = Draws(pairs, negatives, hops, dim, seed)
    count = draws.ids(negatives, pairs) + 1 if ragged else None
    neg_items = draws.ids(n_items, pairs, negatives)
    if count is not None:
        neg_items[torch.arange(negatives) >= count[:, None]] = 10**12
    inputs = {
        "user_hops": draws.rows(n_users, hops, dim) * dim**-0.25,
        "item_hops": draws.rows(n_items, hops, dim) * dim**-0.25,
        "user_gate": draws.rows(pairs, hops, dim),
        "item_gate": draws.rows(n_items, hops, dim),
        "margin_weight": draws.rows(dim) * dim**-0.25,
        "margin_bias": draws.rows(1),
        "users": draws.ids(n_users, pairs),
        "pos_items": draws.ids(n_items, pairs),
        "neg_items": neg_items,
        "neg_count": count,
    }
    by = tuple(inputs)[:6]
    inputs |= {"eps": 0.3, "noise_scale": 0.2, "seed": SEED, "first_pair": first_pair}
    name = (
        f"ans_terms B{pairs} M{negatives} H{hops} D{dim}{' ragged' * ragged}{f' from {first_pair}' * (first_pair > 0)}"
    )
    return Case(name, "ans_terms", inputs, by)


def hardest_case(pairs: int, chosen: int, candidates: int, hops: int, dim: int, gates: bool) -> Case:
    draws, n_items = Draws(pairs, chosen, candidates, hops, dim), 11
    inputs = {
        "user_rows": draws.rows(pairs, hops, dim),
        "item_hops": draws.rows(n_items, hops, dim),
        "candidates": draws.ids(n_items, pairs, chosen, candidates),
    }
    if gates:
        inputs |= {"item_gate": draws.rows(n_items, hops, dim), "pos_gate": draws.rows(pairs, hops, dim), "rest": 0.5}
    name = f"hardest_negatives B{pairs} K{chosen} M{candidates} H{hops} D{dim}{' gates' * gates}"
    return Case(name, "hardest_negatives", inputs)


GRAPHS = {
    "random": random_graph(20, 30, 300),
    "star": BipartiteGraph(np.zeros(900, int), np.arange(900), 3, 902),  # a row that crosses dozens of chunks
    "sparse": random_graph(200, 300, 90),
    "edgeless": BipartiteGraph(np.zeros(0, int), np.zeros(0, int), 5, 6),
}


def propagate_case(operator: str, graph: str, dim: int, n_layers: int, nodes: list[int] | None = None) -> Case:
    made = GRAPHS[graph]
    inputs = {
        "x": Draws(dim, n_layers).rows(made.n_nodes, dim),
        "graph": made,
        "n_layers": n_layers,
        "nodes": None if nodes is None else torch.tensor(nodes, dtype=torch.int64),
    }
    some = "" if nodes is None else f" {len(nodes)} nodes"
    return Case(f"{operator} {graph} D{dim} {n_layers} layers{some}", operator, inputs, ("x",))


def scores_case(pairs: int, candidates: int, dim: int, n_items: int = 11) -> Case:
    """By default few items, so that they repeat."""
    draws = Draws(pairs, candidates, dim)
    inputs = {
        "user_rows": draws.rows(pairs, dim),
        "item_rows": draws.rows(n_items, dim),
        "candidates": draws.ids(n_items, pairs, candidates),
    }
    name = f"candidate_scores B{pairs} M{candidates} D{dim}"
    return Case(name, "candidate_scores", inputs, ("user_rows", "item_rows"))


def bpr_case(pairs: int, width: int) -> Case:
    """Scores as far apart as trained ones."""
    return Case(
        f"top_k_bpr B{pairs} W{width}", "top_k_bpr", {"scores": 3 * Draws(pairs, width).rows(pairs, width)}, ("scores",)
    )


def log_sum_exp_case(queries: int, keys: int, dim: int, without: tuple[str, ...] = ()) -> Case:
    """Few ids, so that many pairs are left out."""
    draws = Draws(queries, keys, dim)
    inputs = {
        "queries": draws.rows(queries, dim) * max(dim, 1) ** -0.25,
        "keys": draws.rows(keys, dim) * max(dim, 1) ** -0.25,
        "query_ids": draws.ids(5, queries) + (1 << 40),
        "key_ids": draws.ids(5, keys) + (1 << 40),
        "key_bias": draws.rows(keys),
    }
    inputs = {name: None if name in without else value for name, value in inputs.items()} | {"scale": 1.5}
    name = f"log_sum_exp B{queries} N{keys} D{dim}{' without ' * bool(without)}{' '.join(without)}"
    return Case(name, "log_sum_exp", inputs, ("queries", "keys"))


def gru_case(lengths: list[int], dim: int, size: int) -> Case:
    """Sequences of `lengths`, long before short; few ids, so that they repeat."""
    draws, n = Draws(len(lengths), sum(lengths), dim, size), 11
    sizes = [sum(length > step for length in lengths) for step in range(max(lengths, default=0))]
    inputs = {
        "table": draws.rows(n, dim),
        "ids": draws.ids(n, sum(lengths)),
        "sizes": torch.tensor(sizes, dtype=torch.int64),
        "n_sequences": len(lengths),
        "weight_ih": draws.rows(3 * size, dim),
        "weight_hh": draws.rows(3 * size, size) * size**-0.5,  # larger ones multiply rounding errors at every step
        "bias_ih": draws.rows(3 * size),
        "bias_hh": draws.rows(3 * size),
    }
    name = f"gru_states B{len(lengths)} L{max(lengths, default=0)} D{dim} H{size}"
    return Case(name, "gru_states", inputs, ("table", "weight_ih", "weight_hh", "bias_ih", "bias_hh"))


def distinct_case(n: int, n_ids: int) -> Case:
    return Case(f"distinct_ids {n_ids} of {n}", "distinct_ids", {"ids": Draws(n, n_ids).ids(n, n_ids), "n": n})


def draw_cases() -> Iterator[Case]:
    graph = random_graph(20, 60, 500)
    for seed in (0, 1, -1, 2**40 + 7, 2**63 - 1, -(2**63)):
        for rows, negatives, first in ((1, 1, 0), (50, 7, 1), (300, 16, 0), (700, 5, 3), (60, 13, 17), (9, 0, 1)):
            users = Draws(rows).ids(20, rows)
            inputs = {"graph": graph, "users": users, "n_negatives": negatives, "seed": seed, "first_item": first}
            yield Case(f"sample_negatives B{rows} M{negatives} from {first}, seed {seed}", "sample_negatives", inputs)
        for rows, dim in ((1, 1), (3, 7), (37, 101), (200, 64), (2000, 3), (5, 4), (3, 0)):
            inputs = {"seed": torch.tensor([seed]), "n_rows": rows, "dim": dim}
            yield Case(f"ans_noise {rows} rows D{dim}, seed {seed}", "ans_noise", inputs)


def all_cases() -> Iterator[Case]:
    """One of each layout of rows in every kernel, odd sizes, one of everything, nothing, more than a grid holds."""
    yield from draw_cases()
    shapes = [(5, 7, 3, 64, False), (1, 1, 1, 1, False), (3, 5, 2, 7, True), (40, 5, 4, 32, True), (4, 6, 2, 96, False)]
    shapes += [(17, 5, 3, 100, True), (6, 9, 2, 128, True), (2, 3, 2, 250, True), (3, 5, 2, 256, False)]
    shapes += [(20, 3, 2, 300, True), (2, 3, 2, 1024, False), (2, 70, 2, 33, True), (33, 16, 4, 64, True)]
    shapes += [(3, 5, 2, 72, True), (3, 5, 2, 264, True), (9, 4, 1, 256, False), (0, 4, 2, 8, False)]
    shapes += [(5, 3, 2, 7, False), (3, 2, 4, 1, False), (3, 2, 4, 1, True), (4, 6, 2, 100, True), (2, 70, 1, 64, True)]
    shapes += [(33, 16, 4, 64, False), (17, 5, 3, 100, False), (9, 4, 1, 256, True), (2, 70, 2, 33, False)]
    for shape in shapes:
        yield ans_case(*shape)
    yield ans_case(4, 3, 2, 64, False, first_pair=7)
    hardest = [(1, 1, 1, 1, 1), (5, 2, 3, 2, 7), (3, 1, 4, 3, 1), (1, 2, 9, 4, 33), (3, 3, 6, 1, 64), (70, 3, 5, 4, 64)]
    hardest += [(9, 1, 32, 4, 64), (4, 2, 5, 2, 100), (5, 1, 7, 3, 128), (2, 2, 4, 4, 256), (30, 1, 6, 1, 300)]
    hardest += [(2, 2, 70, 1, 33), (5, 2, 7, 2, 72), (5, 2, 7, 2, 264), (2, 2, 5, 2, 1000), (1, 1, 4, 2, 1024)]
    for shape in hardest:
        for gates in (False, True):
            yield hardest_case(*shape, gates)
    for operator in ("propagate", "propagate_mean"):
        for graph in GRAPHS:
            for dim in (1, 7, 32, 64, 100, 104, 128, 256, 260, 300, 512):
                yield propagate_case(operator, graph, dim, 2 if dim > 200 else 3)
        for n_layers in (0, 1, 2):
            yield propagate_case(operator, "random", 64, n_layers)
        for n_layers in range(4):
            for nodes in ([], [0], [49], [7, 49, 7, 7, 2], [5] * 300, list(range(50))):
                yield propagate_case(operator, "random", 20, n_layers, nodes)
            for nodes in ([904, 0], [904] * 70, [*range(0, 905, 2), *range(0, 900, 3)]):
                yield propagate_case(operator, "star", 7 if n_layers == 1 else 64, n_layers, nodes)
    shapes = [(1, 1, 1), (5, 7, 3), (65, 70, 64), (64, 64, 16), (3, 600, 17), (70, 5, 100)]
    for shape in (*shapes, (33, 300, 64), (100, 257, 20), (25, 4200, 9), (130, 16, 100), (200, 1100, 64)):
        for without in ((), ("query_ids", "key_ids"), ("key_bias",), ("query_ids", "key_ids", "key_bias")):
            yield log_sum_exp_case(*shape, without)
    shapes = [(1, 1, 1), (5, 3, 7), (3, 8, 64), (70, 33, 64), (4, 9, 100), (5, 17, 128), (2, 40, 256), (3, 70, 33)]
    for shape in (*shapes, (2, 5, 300), (1, 3, 1024), (5, 7, 72), (3, 9, 264), (0, 4, 8), (3, 0, 8), (4, 5, 0)):
        yield scores_case(*shape)
    yield scores_case(40, 50, 16, n_items=3000)
    for shape in ((1, 2), (1, 3), (9, 2), (300, 2), (300, 3), (77, 65), (5000, 2)):
        yield bpr_case(*shape)
    for lengths in ([9, 9, 4, 1, 1, 0, 0], [3], [1, 1], [0, 0], [], [20] * 50 + [7] * 100 + [1] * 30):
        for dim, size in ((1, 1), (3, 5), (16, 16), (64, 33), (7, 100)):
            yield gru_case(lengths, dim, size)
    for n, n_ids in ((1, 5), (300, 4_000), (100_000, 20), (100_000, 60_000)):
        yield distinct_case(n, n_ids)


def dtypes_of(place: Place, case: Case) -> tuple[torch.dtype, ...]:
    """Those that a case is checked with: none, where the place lacks the operator or has no way of its own for
    deterministic algorithms; draws and ids have no rows."""
    if case.operator in place.lacks or (place.deterministic and case.operator not in ORDERED):
        return ()
    if not any(isinstance(value, Tensor) and value.is_floating_point() for value in case.inputs.values()):
        return (torch.float64,)
    return tuple(d for d in place.dtypes if case.operator not in NOT_SHORT or d in LONG)


def check_all(place: Place) -> None:
    """Every case on the place; the first that fails raises."""
    for case in all_cases():
        for dtype in dtypes_of(place, case):
            check(place, case, dtype)
