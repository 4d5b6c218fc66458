"""Every case of the operators on every place: the reference, the CPU at each SIMD level, the SIMT harness, a GPU."""

from __future__ import annotations

import pytest
import torch

import ans_fast
from tests.conftest import run_at_simd_level
from tests.ops import cases
from tests.simt.place import Harness


def _places_and_cases() -> list:
    on_gpu = (cases.CUDA, cases.DETERMINISTIC_CUDA)
    here = (cases.REFERENCE, cases.CPU, Harness(), Harness("deterministic simt", deterministic=True))
    return [
        pytest.param(place, case, id=f"{place.name}-{case.name}", marks=[pytest.mark.gpu] if place in on_gpu else [])
        for place in (*here, *on_gpu)
        for case in cases.all_cases()
        if cases.dtypes_of(place, case)
    ]


@pytest.mark.parametrize(("place", "case"), _places_and_cases())
def test_case(place: cases.Place, case: cases.Case) -> None:
    for dtype in cases.dtypes_of(place, case):
        cases.check(place, case, dtype)


@pytest.mark.parametrize("level", ["baseline", "avx2", "avx512"])
def test_every_simd_level(level: str) -> None:
    if level not in ans_fast.build_info()["simd"]:
        pytest.skip(f"{level} is not built here")
    run_at_simd_level(level, "from tests.ops import cases\ncases.check_all(cases.CPU)")


def test_a_wrong_choice_fails() -> None:
    case = cases.hardest_case(5, 2, 7, 3, 64, True)

    class Wrong(cases.Place):
        def run(self, case: cases.Case, scale: float = 1.0) -> cases.Result:
            return super().run(case, scale)._replace(value=case.inputs["candidates"].flip(2)[..., :1].expand(-1, -1, 3))

    with pytest.raises(AssertionError, match=r"a choice scores .* below the best"):
        cases.check(Wrong("wrong"), case, torch.float32)


def test_a_wrong_number_fails() -> None:
    case = cases.ans_case(5, 3, 2, 64, True)

    class Wrong(cases.Place):
        def run(self, case: cases.Case, scale: float = 1.0) -> cases.Result:
            result = super().run(case, scale)
            result.gradients["margin_weight"][3] *= 1.001
            return result

    with pytest.raises(AssertionError, match=r"margin_weight is off by .* on wrong"):
        cases.check(Wrong("wrong"), case, torch.float32)
