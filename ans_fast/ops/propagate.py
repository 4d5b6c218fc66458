"""Light graph convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ans_fast.graph import BipartiteGraph
from ans_fast.ops._derivatives import linear
from ans_fast.ops._library import register_fake
from ans_fast.ops._operator import Operator, register_described_fake


def propagate(x: Tensor, graph: BipartiteGraph, n_layers: int, nodes: Tensor | None = None) -> Tensor:
    """The rows of all nodes and of their neighbourhoods, hop by hop ("LightGCN", He et al., SIGIR 2020).

    out[:, 0] = x and out[:, k] = D^-1/2 A D^-1/2 out[:, k − 1], A the graph's symmetric adjacency, D its degrees. A
    node without edges gets zeros.

    Args:
        x: [N, D], one row a node, users first; on the graph's device. Differentiable. float32, float64 or bfloat16 (on
            a GPU float32, bfloat16 or float16); rows of 16 bits are stored so between hops too, and summed in float32.
        graph: the graph of N nodes.
        n_layers: how many hops to add, ≥ 0.
        nodes: int64 [R], the nodes whose rows are wanted, in any order, also repeatedly; None: all. Fewer are less
            work, in the last hop and in the backward pass's first. On a GPU rows of nodes out of range are NaN.

    Returns:
        [N or R, n_layers + 1, D], contiguous, x's dtype: hops of a node side by side.

    Raises:
        ValueError, TypeError: an argument's shape, dtype, range or device is wrong.
        RuntimeError: x is on a GPU and the CUDA kernels are not built.
    """
    return _PROPAGATE(x, graph, n_layers, nodes)


def propagate_mean(
    x: Tensor, graph: BipartiteGraph, n_layers: int, nodes: Tensor | None = None, short_hops: bool = False
) -> Tensor:
    """The mean over the hops of `propagate`, [N, D] -> [N or R, D], without holding them: LightGCN's vectors.

    Arguments and errors as in `propagate`. Differentiable; the operator is its own transpose.

    short_hops: of x in float32, store what goes from hop to hop in bfloat16, half the bytes to read; sums, the result
        and gradients are float32. The reference stores nothing in bfloat16.
    """
    return _PROPAGATE_MEAN(x, graph, n_layers, nodes, short_hops)


def _check_short_hops(x: Tensor, graph: BipartiteGraph, n_layers: int, nodes: Tensor | None, short_hops: bool) -> None:
    if short_hops and x.dtype != torch.float32:
        raise TypeError(f"x must be float32 with short_hops, got {str(x.dtype).removeprefix('torch.')}")


def _kernels(x: Tensor, graph: BipartiteGraph, n_layers: int, nodes: Tensor | None) -> Tensor:
    if _sums_by_torch(x, nodes):
        return _kernels(x, graph, n_layers, None).index_select(0, nodes)
    tensors = (graph.indptr, graph.indices, graph.scale)
    return linear("propagate", lambda x: torch.ops.ans_fast.propagate(x.contiguous(), *tensors, n_layers, nodes), x)


def _kernels_of_mean(x: Tensor, graph: BipartiteGraph, n_layers: int, nodes: Tensor | None, short_hops: bool) -> Tensor:
    if _sums_by_torch(x, nodes):
        return _kernels_of_mean(x, graph, n_layers, None, short_hops).index_select(0, nodes)
    tensors = (graph.indptr, graph.indices, graph.scale)
    return linear(
        "propagate_mean",
        lambda x: torch.ops.ans_fast.propagate_mean(x.contiguous(), *tensors, n_layers, nodes, short_hops, False),
        x,
    )


def _sums_by_torch(x: Tensor, nodes: Tensor | None) -> bool:
    """Whether gradients of repeated nodes are torch's to sum up: on a GPU kernels do so by atomics, in any order."""
    return nodes is not None and x.device.type != "cpu" and torch.are_deterministic_algorithms_enabled()


_LINES = ("x: rows[N, D]", "graph: graph", "n_layers: size", "nodes: int64[R = N]? < N")
_PROPAGATE = Operator("propagate", *_LINES, results=("rows[R, n_layers + 1, D]",), kernels=_kernels)
_PROPAGATE_MEAN = Operator("propagate_mean", *_LINES, check=_check_short_hops, kernels=_kernels_of_mean)
register_described_fake("propagate_backward", "grad: rows[R, H, D]", "scale: float32[N]", results=("rows[N, D]",))


@register_fake("propagate_mean")
def _(
    x: Tensor,
    indptr: Tensor,
    indices: Tensor,
    scale: Tensor,
    n_layers: int,
    nodes: Tensor | None,
    short_hops: bool,
    transposed: bool,
) -> Tensor:
    return x.new_empty(len(scale if transposed or nodes is None else nodes), x.shape[1])


# Each is the other's transpose, so gradients of gradients come for free.
def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:4], inputs[5])
    ctx.n_layers = inputs[4]


def _backward(ctx: Any, grad: Tensor) -> tuple:
    *graph, nodes = ctx.saved_tensors
    return _gradient(ctx, grad, lambda grad: torch.ops.ans_fast.propagate_backward(grad, *graph, nodes))


def _save_backward(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])
    ctx.n_layers = inputs[0].shape[1] - 1


def _backward_of_backward(ctx: Any, grad: Tensor) -> tuple:
    *graph, nodes = ctx.saved_tensors
    return _gradient(ctx, grad, lambda grad: torch.ops.ans_fast.propagate(grad, *graph, ctx.n_layers, nodes))


def _save_mean(ctx: Any, inputs: tuple, output: Tensor) -> None:
    _save(ctx, inputs, output)
    ctx.short_hops, ctx.transposed = inputs[6:]


def _backward_of_mean(ctx: Any, grad: Tensor) -> tuple:
    *graph, nodes = ctx.saved_tensors
    arguments = (*graph, ctx.n_layers, nodes, ctx.short_hops, not ctx.transposed)
    return _gradient(ctx, grad, lambda grad: torch.ops.ans_fast.propagate_mean(grad, *arguments))


def _gradient(ctx: Any, grad: Tensor, transposed: Callable[[Tensor], Tensor]) -> tuple:
    """Gradients of all inputs, of which the first alone has one, if it is wanted."""
    wanted, *others = ctx.needs_input_grad
    gradient = linear("the gradient of propagate", lambda grad: transposed(grad.contiguous()), grad) if wanted else None
    return gradient, *[None] * len(others)


torch.library.register_autograd("ans_fast::propagate", _backward, setup_context=_save)
torch.library.register_autograd("ans_fast::propagate_backward", _backward_of_backward, setup_context=_save_backward)
torch.library.register_autograd("ans_fast::propagate_mean", _backward_of_mean, setup_context=_save_mean)
