"""Numbers that may be tensors, seeds of the counter-based generator before all."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_seeds(*shape: int) -> Tensor:
    """Seeds from torch's CPU generator, so that torch.manual_seed reproduces a run on any device: int64 [*shape, 1]."""
    return torch.randint(-(2**63), 2**63 - 1, (*shape, 1), dtype=torch.int64, device="cpu")


def seed_tensor(seed: int | Tensor | None, device: torch.device | None = None) -> Tensor:
    """`seed` as an int64 tensor [1].

    An int is taken modulo 2^64; None draws one, see `draw_seeds`. A tensor (int64, one element) is passed on: one on
    the GPU lets a captured CUDA graph be replayed with another seed. It lies on the CPU or on `device`, that of the
    other tensors (None: anywhere). Raises TypeError or ValueError for anything else.
    """
    if seed is None:
        return draw_seeds()
    if isinstance(seed, Tensor):
        check_number("seed", seed, torch.int64, device)
        return seed.reshape(1)
    if not isinstance(seed, int):
        raise TypeError(f"seed must be an int, an int64 tensor or None, got {type(seed).__name__}")
    return torch.tensor([(seed + 2**63) % 2**64 - 2**63], dtype=torch.int64, device="cpu")


def check_number(name: str, tensor: Tensor, dtype: torch.dtype, device: torch.device | None) -> None:
    """TypeError or ValueError unless `tensor` is one number of the dtype, on `device` (None: anywhere) or the CPU."""
    if tensor.dtype != dtype:
        wanted, got = (str(dtype).removeprefix("torch.") for dtype in (dtype, tensor.dtype))
        raise TypeError(f"{name} must be {wanted}, got {got}")
    if tensor.numel() != 1:
        raise ValueError(f"{name} must have one element, got {list(tensor.shape)}")
    if device is not None and tensor.device not in (device, torch.device("cpu")):
        there = "the CPU" if device.type == "cpu" else f"{device} or the CPU"
        raise ValueError(f"{name} must be on {there}, got {tensor.device}")
