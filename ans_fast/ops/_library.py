"""Loads the compiled extension: importing this module makes torch.ops.ans_fast available."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ans_fast.errors import UserError

BUILD_COMMAND = "pip install --no-build-isolation -e ."
FOLDER = Path(__file__).resolve().parent.parent
OPERATORS = (
    "ans_noise",
    "ans_terms_backward",
    "ans_terms_forward",
    "distinct_ids",
    "gru_states",
    "gru_states_backward",
    "hardest_negatives",
    "log_sum_exp",
    "log_sum_exp_backward",
    "propagate",
    "propagate_backward",
    "propagate_mean",
    "sample_negatives",
)

try:
    from ans_fast import _C
except ImportError as error:
    if not list(FOLDER.glob("_C.*")):
        found = "has not been built"
    else:
        found = f"does not load here (torch {torch.__version__}): {error}"
    raise ImportError(
        f"ans_fast's compiled extension {found}. In its source folder run `{BUILD_COMMAND}`; "
        "that takes g++, torch >= 2.10, setuptools, pybind11 and ninja"
    ) from error


try:
    _C.build_info()
except RuntimeError as error:  # of ANS_FAST_SIMD
    raise UserError(str(error)) from None


def build_info() -> dict[str, Any]:
    """How the extension was built.

    Keys: version, torch (the version whose headers were used), compiler, simd (levels compiled), simd_in_use,
    cuda (version or None), cuda_architectures (such as ["80", "90+PTX"]).
    """
    return _C.build_info()


def register_fake(name: str) -> Callable[[Callable], Callable]:
    """Registers a function as what the operator `name` gives for tensors without memory.

    torch also calls it where but some arguments are meta tensors. What it makes would then be memory that nobody has
    written, so that is a ValueError.
    """

    def register(fake: Callable) -> Callable:
        @functools.wraps(fake)
        def checked(*inputs: Any) -> Any:
            outputs = fake(*inputs)
            made = outputs if isinstance(outputs, tuple) else (outputs,)
            if any(_is_meta(value) for value in inputs) and not all(_is_meta(value) for value in made):
                raise ValueError(f"{name}'s tensors must be on one device, got some on meta")
            return outputs

        torch.library.register_fake(f"ans_fast::{name}", checked)
        return fake

    return register


def _is_meta(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type == "meta"


def _load_cuda() -> bool:
    """Loads the CUDA kernels where torch sees a GPU: their symbols lie in torch's CUDA library."""
    libraries = sorted(FOLDER.glob("_C_cuda.*"))
    if not libraries or not torch.cuda.is_available():
        return False
    torch.ops.load_library(libraries[0])
    return True


cuda_is_loaded = _load_cuda()


def _check_registered() -> None:
    """ImportError unless every operator has its kernels: before torch 2.13 a registration that fails says nothing."""
    for operator in OPERATORS:
        devices = ["CPU"] if operator.startswith("gru_states") or not cuda_is_loaded else ["CPU", "CUDA"]
        for device in devices:
            if not torch._C._dispatch_has_kernel_for_dispatch_key(f"ans_fast::{operator}", device):
                raise ImportError(
                    f"torch {torch.__version__} did not register ans_fast's {device} kernel of {operator}"
                )


_check_registered()


def require_cuda_kernels() -> None:
    """Raises a RuntimeError that says how to build the CUDA kernels, unless they are loaded."""
    if cuda_is_loaded:
        return
    info = build_info()
    built = f"for CUDA {info['cuda']}" if info["cuda"] else f"for the CPU only (simd: {', '.join(info['simd'])})"
    raise RuntimeError(
        f"ans_fast got a CUDA tensor but has no CUDA kernels loaded: it was built {built}. In its source folder run "
        f"`ANS_FAST_CUDA=1 {BUILD_COMMAND}`, which takes nvcc; or choose ans_fast.backend('reference'), slowly"
    )
