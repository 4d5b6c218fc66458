"""Who clicked what, as one CSR that holds both directions."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ans_fast.errors import NoNegatives

MAX_NODES = 2**31 - 1  # node ids are 32-bit


class BipartiteGraph:
    """Interactions of users with items, ready for `ops.propagate` and `ops.sample_negatives`.

    Nodes 0 … n_users − 1 are users, n_users … N − 1 items. User rows list item nodes, item rows list user nodes.

    Args:
        users, items: pair r says that users[r] clicked items[r]. 1-D integer arrays of one length: NumPy, torch, CuPy
            or lists, on CPU or GPU; where they lie the graph is built. Pairs that occur twice count once.
        n_users, n_items: how many there are; ids are below. N may be up to 2^31 − 1.

    Attributes:
        n_users, n_items, n_nodes: n_nodes = N = n_users + n_items.
        n_edges: E, the number of distinct pairs.
        indptr: int64 [N + 1], where a node's row begins and ends in `indices`.
        indices: int32 [2E], node ids, ascending in each row.
        degrees: int64 [N].
        most_clicks: the largest degree of a user.
        scale: float32 [N], degree^-1/2, 0 for a node without edges.

    Raises:
        TypeError: ids are no integers, or the two lie on different devices.
        ValueError: lengths differ, or an id is out of range; the message says where.
    """

    def __init__(self, users: Any, items: Any, n_users: int, n_items: int):
        if n_users < 0 or n_items < 0 or n_users + n_items > MAX_NODES:
            raise ValueError(
                f"n_users and n_items must be at least 0 and at most {MAX_NODES} together, got {n_users} and {n_items}"
            )
        users, items = _to_array("users", users), _to_array("items", items)
        xp, sparse = _modules_of(users, items)
        if users.shape != items.shape:
            raise ValueError(f"users and items must have one length, got {len(users)} and {len(items)}")
        _check_range(xp, "users", users, n_users)
        _check_range(xp, "items", items, n_items)

        self.n_users, self.n_items, self.n_nodes = int(n_users), int(n_items), int(n_users + n_items)
        pairs = (users.astype(xp.int32, copy=False), items.astype(xp.int32, copy=False))
        ones = xp.ones(len(users), dtype=xp.float32)
        of_users = sparse.coo_matrix((ones, pairs), shape=(n_users, n_items)).tocsr()  # adds up what occurs twice
        of_items = of_users.T.tocsr()
        for rows in (of_users, of_items):
            rows.sort_indices()
        self.n_edges = int(of_users.indices.size)
        indptr = xp.concatenate([of_users.indptr, of_items.indptr[1:].astype(xp.int64) + self.n_edges])
        degrees = xp.diff(indptr)
        self.most_clicks = int(degrees[:n_users].max()) if n_users else 0
        scale = xp.where(degrees > 0, 1 / xp.sqrt(xp.maximum(degrees, 1)), 0)

        self.indptr: Tensor = torch.from_dlpack(indptr)
        self.indices: Tensor = torch.from_dlpack(
            xp.concatenate([of_users.indices + xp.int32(n_users), of_items.indices], dtype=xp.int32)
        )
        self.degrees: Tensor = torch.from_dlpack(degrees)
        self.scale: Tensor = torch.from_dlpack(scale.astype(xp.float32))

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.indptr.device

    def to(self, device: torch.device | str) -> BipartiteGraph:
        """The same graph on `device`; itself if it is there."""
        if self.indptr.to(device) is self.indptr:
            return self
        moved = copy.copy(self)
        for name in ("indptr", "indices", "degrees", "scale"):
            setattr(moved, name, getattr(self, name).to(device))
        return moved

    def clicks_of(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """All clicks of users int64 [B]: int64 [C] each, the user's place in `users`, ascending, and the item."""
        degrees = self.degrees[users]
        place = torch.repeat_interleave(torch.arange(len(users), device=users.device), degrees)
        skipped = self.indptr[users] - (degrees.cumsum(0) - degrees)  # from a click's number here to that in `indices`
        items = self.indices[skipped[place] + torch.arange(len(place), device=users.device)]
        return place, items.long() - self.n_users

    def check_negatives(self, first_item: int = 0) -> None:
        """Raises NoNegatives unless every user has left an item from `first_item` on unclicked.

        Training asks at every batch. The device is only read where somebody has clicked nearly everything.
        """
        n_items = self.n_items - first_item
        if self.most_clicks < n_items:
            return
        busy = (self.degrees[: self.n_users] >= n_items).nonzero()[:, 0]
        place, items = self.clicks_of(busy)
        clicks = torch.bincount(place[items >= first_item], minlength=len(busy))
        full = busy[clicks == n_items]
        if len(full):
            raise NoNegatives(int(full[0]), first_item)

    def __repr__(self) -> str:
        return (
            f"BipartiteGraph(n_users={self.n_users}, n_items={self.n_items}, n_edges={self.n_edges}, "
            f"device={str(self.device)!r})"
        )


def _to_array(name: str, values: Any) -> Any:
    """A NumPy or CuPy view of `values`, checked to be a 1-D array of integers."""
    if isinstance(values, Tensor):
        values = values.detach()
        if values.is_cuda:
            import cupy

            values = cupy.from_dlpack(values)
        else:
            values = values.numpy()
    elif not hasattr(values, "__cuda_array_interface__"):
        values = np.asarray(values, dtype=None if len(values) else np.int64)
    if values.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {values.dtype}")
    if values.ndim != 1:
        raise ValueError(f"{name} must be 1-D, got {list(values.shape)}")
    return values


def _modules_of(users: Any, items: Any) -> tuple[Any, Any]:
    """The array module and its sparse module: NumPy with SciPy, or CuPy with its own."""
    on_gpu = [not isinstance(array, np.ndarray) for array in (users, items)]
    if on_gpu[0] != on_gpu[1]:
        raise TypeError("users and items must lie on the same device, got one on the CPU and one on the GPU")
    if on_gpu[0]:
        import cupy
        import cupyx.scipy.sparse

        return cupy, cupyx.scipy.sparse
    import scipy.sparse

    return np, scipy.sparse


def _check_range(xp: Any, name: str, ids: Any, n: int) -> None:
    if len(ids) and (ids.min() < 0 or ids.max() >= n):
        position = int(xp.argmax((ids < 0) | (ids >= n)))
        raise ValueError(f"{name} must be in [0, {n}), got {int(ids[position])} at position {position}")
