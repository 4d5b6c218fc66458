"""The uniform noise that ANS augments negatives with."""

from __future__ import annotations

import torch
from torch import Tensor

from ans_fast.ops._operator import Operator
from ans_fast.ops._seed import seed_tensor

_OPERATOR = Operator("ans_noise", "seed: int64[1]", results=("float32[n_rows, dim]",))


def ans_noise(seed: int | Tensor | None, n_rows: int, dim: int, device: torch.device | str | None = None) -> Tensor:
    """Uniform draws on [0, 1), each a multiple of 2^-24, by Philox4x32-10 (Salmon et al., SC 2011).

    Args:
        seed: an int, an int64 tensor of one element, or None: drawn from torch's CPU generator.
        n_rows, dim: the shape. Row (b * M + m) * H + h is the noise of pair b's negative m at hop h.
        device: where; default the seed's device.

    Returns:
        float32 [n_rows, dim], the same numbers on every device.

    Raises:
        ValueError, TypeError: a size is negative, or the seed is of another kind.
    """
    if n_rows < 0 or dim < 0:
        raise ValueError(f"n_rows and dim must be at least 0, got {n_rows} and {dim}")
    return _OPERATOR(seed_tensor(seed).to(device), n_rows, dim)
