"""Every case of the operators against the reference in float64, replays, captured steps against eager ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ans_fast import ops
from ans_fast.training.loop import train_epoch
from benchmarks.gpu.data import DataSize, made
from benchmarks.gpu.device import Gpu
from benchmarks.gpu.inputs import AnsSize, ans_inputs, loss_and_gradients
from benchmarks.gpu.report import Section
from benchmarks.gpu.steps import Case as StepCase
from benchmarks.gpu.steps import trainer
from tests.ops import cases
from tests.ops.cases import Case, Place

TITLE = "Checks"
TINY = DataSize("tiny", 10_540, 900, 700, (3, 5, 8, 12, 20, 30, 60, 90, 100), (1, 5, 10, 15, 30, 50, 100, 150, 200))
STEP_CASES = (
    StepCase(TINY, "LightGCN"),
    StepCase(TINY, "ANS", 2),
    *(StepCase(TINY, "LightGCN", sampling=sampling) for sampling in ("DNS", "MixGCF", "DENS")),
    StepCase(TINY, "LightGCN", precision="bf16"),
    StepCase(TINY, "ANS", 2, precision="bf16"),
)
PLACES = (cases.CUDA, cases.DETERMINISTIC_CUDA)
SMALL_PLACES = (Place("cuda", "cuda", dtypes=(torch.float32,), lacks=cases.NOT_CUDA),)
SMALL = 10_000  # numbers that a case's arguments hold, at most, for racecheck to get through

Check = Callable[[], str]


def run(section: Section, gpu: Gpu, places: tuple[Place, ...] = PLACES, of: Iterable[Case] | None = None) -> None:
    """Rows of the operators' cases, and of what they are for: replays and training.

    places: where operators run. of: the cases; None: all.
    """
    check_operators(section, places, [*large_cases(), *cases.all_cases()] if of is None else of)
    checks: dict[str, Check] = {"replays": lambda: check_replays(gpu)}
    for place in places:
        for case in large_cases() if of is None else of:
            if cases.dtypes_of(place, case):
                checks[f"the same bits twice: {case.name} on {place.name}"] = lambda case=case, place=place: (
                    check_twice(place, case)
                )
    checks |= {f"captured steps {case}": lambda case=case: check_captured_steps(gpu, case) for case in STEP_CASES}
    for name in section.in_time(checks):
        with section.attempt(name):
            section.add(name, "", {"result": "passed", "found": checks[name]()})


def large_cases() -> list[Case]:
    """Of the sizes that training has. There are few items, so that ties are near."""
    return [
        cases.ans_case(2048, 16, 4, 64, False),
        cases.ans_case(700, 16, 4, 32, True),
        cases.hardest_case(2048, 1, 32, 4, 64, True),
        cases.scores_case(2048, 256, 64),
        cases.bpr_case(20_000, 2),
        cases.log_sum_exp_case(2048, 2048, 64),
    ]


def small_cases() -> list[Case]:
    """Those of few numbers; draws, which threads make alone, are left out."""

    def numbers(case: Case) -> int:
        return sum(value.numel() for value in case.inputs.values() if isinstance(value, Tensor))

    left_out = ("sample_negatives", "ans_noise", *cases.NOT_CUDA)
    return [case for case in cases.all_cases() if case.operator not in left_out and numbers(case) <= SMALL]


def check_operators(section: Section, places: Iterable[Place], of: Iterable[Case]) -> None:
    """A row for each operator, place and dtype of rows: how many cases passed. Which failed is told."""
    waiting = {
        f"{case.name} on {place.name}": (case, place) for place in places for case in of if cases.dtypes_of(place, case)
    }
    tried: Counter[tuple[str, str]] = Counter()
    passed: Counter[tuple[str, str]] = Counter()
    for name in section.in_time(waiting):
        case, place = waiting[name]
        for dtype in cases.dtypes_of(place, case):
            key = case.operator, f"{place.name}, {str(dtype).removeprefix('torch.')}"
            tried[key] += 1
            with section.attempt(f"{name}, {key[1]}"):
                cases.check(place, case, dtype)
                passed[key] += 1
    for key, n in tried.items():
        result = "passed" if passed[key] == n else "**failed**"
        section.add(*key, {"result": result, "found": f"{passed[key]} of {n} cases"})


# --- Checks: each raises AssertionError, or says what it found -------------------------------------------------------


def check_twice(place: Place, case: Case) -> str:
    """Values have the same bits in two runs; so have gradients with deterministic algorithms."""
    narrow = cases.rounded(case, torch.float32)
    first, second = place.run(narrow), place.run(narrow)
    assert torch.equal(first.value, second.value), "values differ"
    if first.choice is not None:
        assert torch.equal(first.choice, second.choice), "choices differ"
    if place.deterministic:
        assert all(torch.equal(first.gradients[name], second.gradients[name]) for name in case.by), "gradients differ"
        return "values and gradients"
    return "values"


def check_replays(gpu: Gpu) -> str:
    """What was captured once and is replayed with other seeds equals what is called with them."""
    tables, ids = ans_inputs(AnsSize(64, 8, 3, 64), 40, 90, torch.float32, gpu.device)
    seed, given = torch.tensor([1], device=gpu.device), []

    def step() -> None:
        given[:] = loss_and_gradients(ops.ans_terms, tables, ids, seed)

    replay = gpu.replayed(step)
    for value in (5, 6):
        seed.fill_(value)
        replay()
        loss, *gradients = loss_and_gradients(ops.ans_terms, tables, ids, torch.tensor([value]))
        assert torch.equal(given[0], loss), "a replay gave another loss"
        assert cases.error_of(given[2], gradients[1].double()) < 1e-5, "a replay gave other gradients"
    return "with new seeds equal to calls"


def check_captured_steps(gpu: Gpu, case: StepCase) -> str:
    """Epochs of captured steps, the last one short, are those of eager ones: to rounding, since atomics add up in any
    order."""
    data, results = made(case.size, gpu.device), []
    for captured in (False, True):
        step = trainer(gpu, data, case, captured)
        losses = torch.tensor([train_epoch(step, data.rows, 2_048)["loss"] for _ in range(3)], dtype=torch.float64)
        weights = torch.cat([parameter.detach().flatten() for parameter in step.model.parameters()])
        results.append((losses, weights.double().cpu()))
    (eager, weights), (captured, captured_weights) = results
    assert cases.error_of(captured, eager) <= 1e-5, f"losses are {captured.tolist()}, eager {eager.tolist()}"
    off = cases.error_of(captured_weights, weights)
    assert off <= 1e-3, f"weights are off by {off:.1e}"
    return f"relative error of weights {off:.1e}"
