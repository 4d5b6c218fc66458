"""sample_negatives over graph size, B and M; ans_noise."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import pytest
import torch
from torch import Tensor

from ans_fast import BipartiteGraph, ops, reference
from benchmarks.cases import NOISE_QUICK, NOISE_SIZES, SAMPLE_QUICK, SAMPLE_SIZES, NoiseSize, SampleSize, graph
from benchmarks.conftest import quick
from benchmarks.plain import compiled, torch_random

SEED = torch.tensor([7])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    small, samples = quick(metafunc.config), metafunc.function is test_sample_negatives
    if samples:
        sizes, providers = SAMPLE_QUICK if small else SAMPLE_SIZES, SAMPLERS
    else:
        sizes, providers = NOISE_QUICK if small else NOISE_SIZES, NOISES
    metafunc.parametrize("size", sizes, ids=str)
    metafunc.parametrize("provider", providers)


# --- sample_negatives ------------------------------------------------------------------------------------------------

Sampler = Callable[[BipartiteGraph, Tensor, int, Tensor], Tensor]


def _plain(sample: Sampler) -> Sampler:
    def call(*arguments: object) -> Tensor:
        with torch_random():
            return sample(*arguments)

    return call


SAMPLERS: dict[str, Callable[[], Sampler]] = {
    "fused": lambda: ops.sample_negatives,
    "eager": lambda: _plain(reference.sample_negatives),
    "compile": lambda: _plain(compiled(reference.sample_negatives)),
    "reference": lambda: reference.sample_negatives,
}


def test_sample_negatives(size: SampleSize, provider: str, measure) -> None:
    sample, made = SAMPLERS[provider](), _graph(size)
    users = torch.randint(size.graph.users, (size.B,), generator=torch.Generator().manual_seed(0))
    drawn = sample(made, users, size.M, SEED)
    if provider in ("fused", "reference"):
        assert torch.equal(drawn, reference.sample_negatives(made, users, size.M, SEED))
    assert drawn.shape == (size.B, size.M)
    assert 0 <= int(drawn.min()) <= int(drawn.max()) < size.graph.items
    n = made.n_edges
    clicks = torch.repeat_interleave(torch.arange(made.n_users), made.degrees[: made.n_users]) * made.n_items
    clicks += made.indices[:n] - made.n_users
    assert not torch.isin(users[:, None] * made.n_items + drawn, clicks).any()
    measure(
        lambda: sample(made, users, size.M, SEED), op="sample_negatives", provider=provider, mode="forward", config=size
    )


@lru_cache(maxsize=1)
def _graph(size: SampleSize) -> BipartiteGraph:
    return graph(size.graph)


# --- ans_noise -------------------------------------------------------------------------------------------------------

NOISES: dict[str, Callable[[], Callable[..., Tensor]]] = {
    "fused": lambda: ops.ans_noise,
    "eager": lambda: reference.ans_noise,
    "compile": lambda: compiled(reference.ans_noise),
}


def test_ans_noise(size: NoiseSize, provider: str, measure) -> None:
    noise = NOISES[provider]()
    assert torch.equal(noise(SEED, size.rows, size.D), reference.ans_noise(SEED, size.rows, size.D))
    measure(lambda: noise(SEED, size.rows, size.D), op="ans_noise", provider=provider, mode="forward", config=size)
