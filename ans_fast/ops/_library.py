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
CPU_ALONE = ("gru_states", "gru_states_backward")  # operators without CUDA kernels

try:
    torch.ops.load_library(FOLDER / "_kernels.so")
    from ans_fast import _C
except (ImportError, OSError) as error:
    if not (FOLDER / "_kernels.so").exists() or not list(FOLDER.glob("_C.*")):
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


def _load_cuda() -> str:
    """Loads the CUDA kernels where torch sees a GPU: their symbols lie in torch's CUDA library. Why they are not there,
    or "" where they are."""
    library = FOLDER / "_kernels_cuda.so"
    if not library.exists():
        return f"it was built for the CPU only (simd: {', '.join(build_info()['simd'])})"
    if not torch.cuda.is_available():
        return "torch sees no GPU"
    try:
        torch.ops.load_library(library)
    except OSError as error:  # such as another CUDA's torch
        built = f"those that were built for CUDA {build_info()['cuda']} do not load with torch {torch.__version__}"
        return f"{built}: {' '.join(str(error).split())[:200]}"
    return ""


why_no_cuda = _load_cuda()
cuda_is_loaded = not why_no_cuda


def _check_registered() -> None:
    """ImportError unless every operator that is defined has its kernels: before torch 2.13 a registration that fails
    says nothing. (One that is not even defined is missed where its file asks for it.)"""
    defined = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("ans_fast::")]
    for name in defined:
        operator = name.removeprefix("ans_fast::")
        devices = ["CPU"] if operator in CPU_ALONE or not cuda_is_loaded else ["CPU", "CUDA"]
        for device in devices:
            if not torch._C._dispatch_has_kernel_for_dispatch_key(name, device):
                raise ImportError(
                    f"torch {torch.__version__} did not register ans_fast's {device} kernel of {operator}"
                )


_check_registered()


def require_cuda_kernels() -> None:
    """Raises a RuntimeError that says how to build the CUDA kernels, unless they are loaded."""
    if cuda_is_loaded:
        return
    raise RuntimeError(
        f"ans_fast got a CUDA tensor but has no CUDA kernels loaded: {why_no_cuda}. In its source folder run "
        f"`ANS_FAST_CUDA=1 {BUILD_COMMAND}`, which takes nvcc; or choose ans_fast.backend('reference'), slowly"
    )
