"""gru_states against torch.nn.GRU over packed sequences, over B, H and D."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ans_fast import ops, reference
from benchmarks.cases import GRU_QUICK, GRU_SIZES, GruInputs, GruSize, gru_inputs
from benchmarks.check import assert_close
from benchmarks.conftest import quick
from benchmarks.plain import compiled


def _fused(x: GruInputs) -> Tensor:
    return ops.gru_states(x.table, x.ids, x.sizes, len(x.grad), *x.weights)


def _torch_gru(x: GruInputs) -> Tensor:
    """What torch.nn.GRU calls for a PackedSequence."""
    first = torch.zeros_like(x.grad)[None]
    return torch.gru(x.table[x.ids], x.sizes, first, x.weights, True, 1, 0.0, True, False)[1][0]


def _plain(states: Callable[..., Tensor]) -> Callable[[GruInputs], Tensor]:
    return lambda x: states(x.table, x.ids, x.sizes.tolist(), len(x.grad), *x.weights)


PROVIDERS: dict[str, Callable[[], Callable[[GruInputs], Tensor]]] = {
    "fused": lambda: _fused,
    "nn.GRU": lambda: _torch_gru,
    "eager": lambda: _plain(reference.gru_states),
    "compile": lambda: _plain(compiled(reference.gru_states)),
}


def _forward(states: Callable[[GruInputs], Tensor], inputs: GruInputs) -> list[Tensor]:
    with torch.no_grad():
        return [states(inputs)]


def _forward_backward(states: Callable[[GruInputs], Tensor], inputs: GruInputs) -> list[Tensor]:
    out = states(inputs)
    return [out.detach(), *torch.autograd.grad(out, (inputs.table, *inputs.weights), inputs.grad)]


MODES = {"forward": _forward, "forward+backward": _forward_backward}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    sizes = GRU_QUICK if quick(metafunc.config) else GRU_SIZES
    # 20 steps take minutes to compile: one size shows what that brings.
    cases = [(size, p) for size in sizes for p in PROVIDERS if p != "compile" or size == sizes[0]]
    metafunc.parametrize(("size", "provider"), cases, ids=str)
    metafunc.parametrize("mode", MODES)


def test_gru_states(size: GruSize, provider: str, mode: str, measure) -> None:
    states, inputs, run = PROVIDERS[provider](), gru_inputs(size), MODES[mode]
    assert_close(run(states, inputs), run(_plain(reference.gru_states), inputs))
    measure(lambda: run(states, inputs), op="gru_states", provider=provider, mode=mode, config=size)
