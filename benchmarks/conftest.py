"""What all benchmarks share: the thread count, the quick mode and how a call is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import torch

from benchmarks import plain
from benchmarks.cases import THREADS
from benchmarks.machine import seconds_waited
from benchmarks.memory import extra_peak

SECONDS = 0.8  # of timed calls a case; slow ones get MIN_ROUNDS, fast ones MAX_ROUNDS
MIN_ROUNDS, MAX_ROUNDS = 3, 100


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="one tiny size of each case, to see that it runs")


def pytest_configure(config: pytest.Config) -> None:
    if quick(config):
        plain.COMPILER = "aot_eager"


def quick(config: pytest.Config) -> bool:
    return config.getoption("--quick")


@pytest.fixture(autouse=True)
def threads(request) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1 if quick(request.config) else THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def measure(benchmark, request) -> Callable[..., None]:
    """measure(call, op=…, provider=…, mode=…, config=…): times the call and notes its peak memory.

    The call has been made before, so that everything is compiled and warm. `rounds` limits slow ones; `step` is what
    stands for the call in the measurement of memory. Noted beside: the share of the time that its threads waited for
    a core.
    """

    def run(call: Callable[[], object], *, rounds: int | None = None, step: Callable | None = None, **labels: object):
        peak = extra_peak(step or call)
        if quick(request.config):
            rounds = 2
        elif rounds is None:
            start = time.perf_counter()
            call()
            taken = time.perf_counter() - start
            rounds = int(min(max(SECONDS / taken, MIN_ROUNDS), MAX_ROUNDS))
        start, waited = time.perf_counter(), seconds_waited()
        benchmark.pedantic(call, rounds=rounds)
        waited = (seconds_waited() - waited) / (time.perf_counter() - start) / THREADS
        benchmark.extra_info.update({name: str(label) for name, label in labels.items()}, peak=peak, waited=waited)

    return run
