"""A stand-in for CUDA graphs on the CPU: what was recorded is run again, and has to be the same to an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

Call = tuple[str, Any]


class Tape(TorchDispatchMode):
    """Notes every operator with its arguments: tensors by address where they were there before, by number where they
    were made meanwhile, and whatever else by value. A replayed CUDA graph could not tell one from another."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._made: dict[int, int] = {}  # number by address
        self._kept: list[Tensor] = []  # so that no address comes twice
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.calls.append((str(func), tree_map(self._note, (args, kwargs or {}))))
        given = func(*args, **(kwargs or {}))
        tree_map(self._make, given)
        return given

    def before(self) -> list[torch.UntypedStorage]:
        """The memory that was there before."""
        return [storage for storage, _ in self._before.values()]

    def undo(self) -> None:
        """Gives all memory that was there before what it held."""
        for storage, before in self._before.values():
            storage.copy_(before)

    def _note(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return str(value)
        storage = value.untyped_storage()
        address = storage.data_ptr()
        if address in self._made:
            where = ("made", self._made[address])
        else:
            where = ("at", address)
            if address and address not in self._before:
                self._before[address] = storage, storage.clone()
        return str((*where, value.storage_offset(), tuple(value.shape), value.stride(), value.dtype))

    def _make(self, value: Any) -> None:
        if isinstance(value, Tensor):
            self._kept.append(value)
            address = value.untyped_storage().data_ptr()
            if address not in self._before:
                self._made.setdefault(address, len(self._made))


class Memory:
    """The `Graphs` of the CPU that keep of what was recorded no more than a CUDA graph does: the addresses of what was
    there before. Replays do nothing."""

    def __init__(self, device: torch.device | None = None):
        self._read: list[StorageWeakRef] = []

    def warm_up(self, function: Callable[[], None]) -> None:
        function()

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        with Tape() as recorded:
            function()
        self._read += map(StorageWeakRef, recorded.before())
        return lambda: None

    def freed(self) -> int:
        """How many of them are another's memory by now."""
        return sum(read.expired() for read in self._read)


class Tapes:
    """The `Graphs` of the CPU. captured, replayed: how often."""

    def __init__(self, device: torch.device | None = None):
        self.captured = self.replayed = 0

    def warm_up(self, function: Callable[[], None]) -> None:
        function()

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        self.captured += 1
        with torch.random.fork_rng([]), Tape() as recorded:
            function()
        recorded.undo()

        def replay() -> None:
            self.replayed += 1
            with Tape() as again:
                function()
            for before, now in zip(recorded.calls, again.calls, strict=True):
                assert now == before, f"recorded was {before}, came {now}"

        return replay
