"""The comparison of results before they are timed."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.linalg import vector_norm

TOLERANCE = 1e-3  # relative, in norm, of float32 results to each other


def assert_close(actual: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float = TOLERANCE) -> None:
    """Every tensor agrees with its counterpart: ‖actual − expected‖ ≤ tolerance · ‖expected‖."""
    for at, (a, e) in enumerate(zip(actual, expected, strict=True)):
        assert a.shape == e.shape, f"result {at}: {list(a.shape)}, expected {list(e.shape)}"
        error, norm = float(vector_norm(a - e)), float(vector_norm(e))
        assert error <= tolerance * norm, f"result {at}: off by {error:.3g} of {norm:.3g}"
