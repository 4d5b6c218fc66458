"""Light graph convolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ans_fast import reference
from ans_fast.graph import BipartiteGraph
from ans_fast.ops._backend import use_reference
from ans_fast.ops._check import FLOATS, check_dtype, check_graph_device, check_kernels, check_shape


def propagate(x: Tensor, graph: BipartiteGraph, n_layers: int) -> Tensor:
    """The rows of all nodes and of their neighbourhoods, hop by hop ("LightGCN", He et al., SIGIR 2020).

    out[:, 0] = x and out[:, k] = D^-1/2 A D^-1/2 out[:, k − 1], A the graph's symmetric adjacency, D its degrees. A
    node without edges gets zeros.

    Args:
        x: float32 or float64 [N, D], one row a node, users first; on the graph's device. Differentiable.
        graph: the graph of N nodes.
        n_layers: how many hops to add, ≥ 0.

    Returns:
        [N, n_layers + 1, D], contiguous, x's dtype: hops of a node side by side.

    Raises:
        ValueError, TypeError: an argument's shape, dtype, range or device is wrong.
        RuntimeError: x is on a GPU and the CUDA kernels are not built.
    """
    _check(x, graph, n_layers)
    if use_reference():
        return reference.propagate(x, graph, n_layers)
    check_kernels(x.device)
    return torch.ops.ans_fast.propagate(x.contiguous(), graph.indptr, graph.indices, graph.scale, n_layers)


def propagate_mean(x: Tensor, graph: BipartiteGraph, n_layers: int) -> Tensor:
    """The mean over the hops of `propagate`, [N, D] -> [N, D], without holding them: LightGCN's vectors.

    Arguments and errors as in `propagate`. Differentiable; the operator is its own transpose.
    """
    _check(x, graph, n_layers)
    if use_reference():
        return reference.propagate(x, graph, n_layers).mean(1)
    check_kernels(x.device)
    if x.device.type == "cuda":  # has no kernel of its own there
        return propagate(x, graph, n_layers).mean(1)
    return torch.ops.ans_fast.propagate_mean(x.contiguous(), graph.indptr, graph.indices, graph.scale, n_layers)


def _check(x: Tensor, graph: BipartiteGraph, n_layers: int) -> None:
    check_shape("x", x, f"[N = {graph.n_nodes}, D]", (graph.n_nodes, None))
    dtypes = FLOATS if x.device.type == "cpu" else (*FLOATS, torch.float16, torch.bfloat16)
    check_dtype("x", x, *dtypes)
    check_graph_device(graph, "x", x)
    if n_layers < 0:
        raise ValueError(f"n_layers must be at least 0, got {n_layers}")


@torch.library.register_fake("ans_fast::propagate")
def _(x: Tensor, indptr: Tensor, indices: Tensor, scale: Tensor, n_layers: int) -> Tensor:
    return x.new_empty(x.shape[0], n_layers + 1, x.shape[1])


@torch.library.register_fake("ans_fast::propagate_backward")
def _(grad: Tensor, indptr: Tensor, indices: Tensor, scale: Tensor) -> Tensor:
    return grad.new_empty(grad.shape[0], grad.shape[2])


@torch.library.register_fake("ans_fast::propagate_mean")
def _(x: Tensor, indptr: Tensor, indices: Tensor, scale: Tensor, n_layers: int) -> Tensor:
    return torch.empty_like(x)


# Each is the other's transpose, so gradients of gradients come for free.
def _save_graph(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:4])
    ctx.n_layers = inputs[4] if len(inputs) == 5 else inputs[0].shape[1] - 1


def _backward(ctx: Any, grad: Tensor) -> tuple:
    if not ctx.needs_input_grad[0]:
        return None, None, None, None, None
    return torch.ops.ans_fast.propagate_backward(grad.contiguous(), *ctx.saved_tensors), None, None, None, None


def _backward_of_backward(ctx: Any, grad: Tensor) -> tuple:
    if not ctx.needs_input_grad[0]:
        return None, None, None, None
    return torch.ops.ans_fast.propagate(grad.contiguous(), *ctx.saved_tensors, ctx.n_layers), None, None, None


torch.library.register_autograd("ans_fast::propagate", _backward, setup_context=_save_graph)
torch.library.register_autograd("ans_fast::propagate_backward", _backward_of_backward, setup_context=_save_graph)


def _backward_of_mean(ctx: Any, grad: Tensor) -> tuple:
    if not ctx.needs_input_grad[0]:
        return None, None, None, None, None
    gradient = torch.ops.ans_fast.propagate_mean(grad.contiguous(), *ctx.saved_tensors, ctx.n_layers)
    return gradient, None, None, None, None


torch.library.register_autograd("ans_fast::propagate_mean", _backward_of_mean, setup_context=_save_graph)
