"""Argument checks that all operators share. Messages name the argument, what is expected and what came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ans_fast.ops._library import require_cuda_kernels

if TYPE_CHECKING:
    from ans_fast.graph import BipartiteGraph


def check_shape(name: str, tensor: Tensor, shape: str, sizes: tuple[int | None, ...]) -> None:
    """ValueError unless `tensor` has these sizes (None: any); `shape` describes them in the message."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor {shape}, got {type(tensor).__name__}")
    fits = tensor.dim() == len(sizes) and all(
        want is None or want == have for want, have in zip(sizes, tensor.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} must be {shape}, got {list(tensor.shape)}")


def check_dtype(name: str, tensor: Tensor, *dtypes: torch.dtype) -> None:
    """TypeError unless `tensor` has one of the dtypes."""
    if tensor.dtype not in dtypes:
        wanted = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise TypeError(f"{name} must be {wanted}, got {str(tensor.dtype).removeprefix('torch.')}")


def check_row_dtype(name: str, tensor: Tensor) -> None:
    """TypeError unless `tensor` holds what rows of its device may hold: on a GPU also floats of 16 bits."""
    short = () if tensor.device.type == "cpu" else (torch.float16, torch.bfloat16)
    check_dtype(name, tensor, torch.float32, torch.float64, *short)


def check_number(name: str, tensor: Tensor, dtype: torch.dtype, device: torch.device | None) -> None:
    """TypeError or ValueError unless `tensor` is one number of the dtype, on `device` (None: anywhere) or the CPU."""
    check_dtype(name, tensor, dtype)
    if tensor.numel() != 1:
        raise ValueError(f"{name} must have one element, got {list(tensor.shape)}")
    if device is not None and tensor.device not in (device, torch.device("cpu")):
        there = "the CPU" if device.type == "cpu" else f"{device} or the CPU"
        raise ValueError(f"{name} must be on {there}, got {tensor.device}")


def check_device(device: torch.device, **tensors: Tensor) -> None:
    """ValueError unless all tensors lie on `device`."""
    for name, tensor in tensors.items():
        if tensor.device != device:
            raise ValueError(f"{name} must be on {device}, got {tensor.device}")


def check_graph_device(graph: BipartiteGraph, name: str, tensor: Tensor) -> None:
    """ValueError unless the graph lies where `tensor` does."""
    if graph.device != tensor.device:
        raise ValueError(f"graph must be on {name}'s device {tensor.device}, got {graph.device}: use graph.to(...)")


def check_kernels(device: torch.device) -> None:
    """RuntimeError if `device` has no compiled kernels here; it says how to get them."""
    if device.type == "cuda":
        require_cuda_kernels()
    elif device.type != "cpu":
        raise RuntimeError(f"ans_fast has kernels for cpu and cuda, got {device}: use ans_fast.backend('reference')")


def check_ids(name: str, ids: Tensor, n: int) -> None:
    """ValueError unless all ids are in [0, n): for the reference; the kernels check by themselves."""
    wrong = ((ids < 0) | (ids >= n)).flatten()
    if wrong.any():
        position = int(wrong.nonzero()[0])
        raise ValueError(f"{name} must be in [0, {n}), got {int(ids.flatten()[position])} at position {position}")
