"""candidate_scores over M, D and the number of items: the logits of each pair's own negatives.

In plain PyTorch rows are gathered: [B, M, D], 134 MB at B 2048, M 256 and D 64, and as much again for their gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ans_fast import ops, reference
from benchmarks.cases import SCORES_QUICK, SCORES_SIZES, ScoresSize, scores_inputs
from benchmarks.check import assert_close
from benchmarks.conftest import quick
from benchmarks.plain import compiled, gathered_scores

PROVIDERS: dict[str, Callable[[], Callable[..., Tensor]]] = {
    "fused": lambda: ops.candidate_scores,
    "eager": lambda: gathered_scores,
    "compile": lambda: compiled(gathered_scores),
}


def _forward(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    with torch.no_grad():
        return [function(*inputs)]


def _forward_backward(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    out = function(*inputs)
    return [out.detach(), *torch.autograd.grad(out.logsumexp(1).mean(), inputs[:2])]


MODES = {"forward": _forward, "forward+backward": _forward_backward}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("size", SCORES_QUICK if quick(metafunc.config) else SCORES_SIZES, ids=str)
    metafunc.parametrize("provider", PROVIDERS)
    metafunc.parametrize("mode", MODES)


def test_candidate_scores(size: ScoresSize, provider: str, mode: str, measure) -> None:
    function, inputs, run = PROVIDERS[provider](), scores_inputs(size), MODES[mode]
    assert_close(run(function, inputs), run(reference.candidate_scores, inputs))
    measure(lambda: run(function, inputs), op="candidate_scores", provider=provider, mode=mode, config=size)
