"""Propagation: the fused operator, the reference, torch's and SciPy's sparse products with an adjacency made before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from ans_fast import BipartiteGraph, ops, reference
from benchmarks.cases import PropagateSize, graph
from benchmarks.plain import compiled


@dataclass(frozen=True)
class PropagateInputs:
    """x and grad, the gradient of the result: [N, D] and [N, layers + 1, D]."""

    graph: BipartiteGraph
    layers: int
    x: Tensor
    grad: Tensor


def propagate_inputs(size: PropagateSize) -> PropagateInputs:
    made = graph(size.graph)
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(made.n_nodes, size.D, generator=rng).requires_grad_()
    return PropagateInputs(made, size.layers, x, torch.randn(made.n_nodes, size.layers + 1, size.D, generator=rng))


def adjacency(of: BipartiteGraph) -> scipy.sparse.csr_array:
    """D^-1/2 A D^-1/2 with its values."""
    scale = of.scale.numpy()
    rows = np.repeat(np.arange(of.n_nodes), of.degrees)
    values = scale[rows] * scale[of.indices.numpy()]
    return scipy.sparse.csr_array((values, of.indices.numpy(), of.indptr.numpy().astype(np.int32)))


# Each provider: inputs -> (forward, forward and backward). `forward` gives the hops, stacked or in a list.
Calls = tuple[Callable[[], object], Callable[[], object]]


def _differentiated(inputs: PropagateInputs, hops: Callable[[Tensor], Tensor | list[Tensor]]) -> Calls:
    def forward() -> object:
        with torch.no_grad():
            return hops(inputs.x)

    def forward_backward() -> Tensor:
        out = hops(inputs.x)
        grads = inputs.grad.unbind(1) if isinstance(out, list) else inputs.grad
        return torch.autograd.grad(out, inputs.x, grads)[0]

    return forward, forward_backward


def _fused(inputs: PropagateInputs) -> Calls:
    return _differentiated(inputs, lambda x: ops.propagate(x, inputs.graph, inputs.layers))


def _eager(inputs: PropagateInputs) -> Calls:
    return _differentiated(inputs, lambda x: reference.propagate(x, inputs.graph, inputs.layers))


def _compiled(inputs: PropagateInputs) -> Calls:
    propagate = compiled(reference.propagate)
    return _differentiated(inputs, lambda x: propagate(x, inputs.graph, inputs.layers))


def _torch_sparse(inputs: PropagateInputs, layout: torch.layout) -> Calls:
    matrix = adjacency(inputs.graph)
    parts = [torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data)]
    product = torch.sparse_csr_tensor(*parts, matrix.shape, check_invariants=False)
    if layout == torch.sparse_coo:
        product = product.to_sparse_coo().coalesce()

    def hops(x: Tensor) -> list[Tensor]:
        out = [x]
        for _ in range(inputs.layers):
            out.append(torch.sparse.mm(product, out[-1]))
        return out

    return _differentiated(inputs, hops)


def _scipy(inputs: PropagateInputs) -> Calls:
    product, x, grads = adjacency(inputs.graph), inputs.x.detach().numpy(), inputs.grad.unbind(1)
    grads = [np.ascontiguousarray(grad) for grad in grads]

    def forward() -> list[np.ndarray]:
        out = [x]
        for _ in range(inputs.layers):
            out.append(product @ out[-1])
        return out

    def forward_backward() -> np.ndarray:
        forward()
        total = grads[-1]
        for grad in grads[-2::-1]:
            total = product @ total + grad
        return total

    return forward, forward_backward


PROVIDERS: dict[str, Callable[[PropagateInputs], Calls]] = {
    "fused": _fused,
    "torch COO": lambda inputs: _torch_sparse(inputs, torch.sparse_coo),
    "torch CSR": lambda inputs: _torch_sparse(inputs, torch.sparse_csr),
    "scipy": _scipy,
    "eager": _eager,
    "compile": _compiled,
}
MODES = ("forward", "forward+backward")
