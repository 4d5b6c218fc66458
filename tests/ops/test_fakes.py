"""What operators give for tensors without memory, which torch asks their fakes for."""

from __future__ import annotations

import pytest
import torch

from ans_fast import ops  # noqa: F401 (loads the operators)
from tests.conftest import random_graph


@pytest.mark.parametrize("on_meta", [1, 2, 3])
def test_meta_beside_others_is_an_error(on_meta: int) -> None:
    """torch calls the fake here, whose result would be memory that nobody has written."""
    graph = random_graph(4, 5, 12)
    tensors = [torch.randn(9, 3), graph.indptr, graph.indices, graph.scale]
    tensors[on_meta] = tensors[on_meta].to("meta")
    with pytest.raises(ValueError, match="propagate's tensors must be on one device, got some on meta"):
        torch.ops.ans_fast.propagate(*tensors, 2, None)


def test_meta_alone_has_the_right_shape() -> None:
    graph = random_graph(4, 5, 12)
    tensors = [tensor.to("meta") for tensor in (torch.randn(9, 3), graph.indptr, graph.indices, graph.scale)]
    out = torch.ops.ans_fast.propagate(*tensors, 2, None)
    assert (out.shape, out.device.type) == ((9, 3, 3), "meta")
