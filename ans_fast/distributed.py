"""The processes that train together: torchrun starts them, torch.distributed connects them.

A run without torchrun is one process alone, `ALONE`, of the same methods, which move nothing. Methods that move data
must be called by all processes, in one order.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

import torch
from torch import Tensor

from ans_fast.errors import UserError

T = TypeVar("T")
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets
PATIENCE = timedelta(minutes=30)  # that a process waits for the others, while they read data for instance


class Processes:
    """One process: what a group's methods are where nothing has to be moved.

    rank: this process's number from 0. size: W, how many there are. local_rank, local_size: the same on this machine.
    alone: whether this is no group; one of a single process does all that others do.
    """

    rank, size, local_rank, local_size = 0, 1, 0, 1
    alone = True

    @property
    def leads(self) -> bool:
        """Whether this is the process that prints, logs and writes."""
        return self.rank == 0

    def bounds(self, n: int) -> list[int]:
        """Where the W parts of n things begin, and n: they differ by one in size at most."""
        return [n * rank // self.size for rank in range(self.size + 1)]

    def sum_(self, tensor: Tensor) -> Callable[[], None]:
        """Begins to replace the tensor by the sum of all processes' tensors, the same bits everywhere; it may not be
        touched before what is returned has been called."""
        return lambda: None

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes, of one shape, one after the other along the first dimension."""
        return tensor

    def exchange(self, tensor: Tensor, sent: list[int], received: list[int]) -> Callable[[], Tensor]:
        """Begins to send one-dimensional tensors cut into W parts, the r-th to process r; what is returned waits, and
        gives the parts for this one, in order. Until then the tensor may not be touched.

        Args: sent, received: the parts' lengths, of what goes to and comes from each process.
        """
        return lambda: tensor

    def collect(self, value: T) -> list[T]:
        """Small values of all processes."""
        return [value]

    def of_leader(self, value: T) -> T:
        """The leader's value: of what a clock or a machine's rounding decides, so that all go the same way."""
        return value

    def wait(self) -> None:
        """Until all have come here."""

    def agree(self, facts: dict[str, Any]) -> None:
        """Raises UserError, which names what differs, unless all have the same facts."""

    def use(self, device: torch.device) -> None:
        """Prepares for tensors on `device`."""

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        pass


ALONE = Processes()


class Group(Processes):
    """The processes of torch.distributed's default group, which is there.

    Methods raise UserError where a process cannot be reached: one that died, most likely.
    """

    alone = False

    def __init__(self) -> None:
        import torch.distributed as dist

        self._dist, self._nccl = dist, None
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.local_rank = int(os.environ.get("LOCAL_RANK", 0))
        self.local_size = int(os.environ.get("LOCAL_WORLD_SIZE", 1))

    def sum_(self, tensor: Tensor) -> Callable[[], None]:
        with _connected():
            work = self._dist.all_reduce(tensor, group=self._way(tensor), async_op=True)
        return lambda: _wait(work)

    def gather(self, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(self.size)]
        with _connected():
            self._dist.all_gather(parts, tensor.contiguous(), group=self._way(tensor))
        return torch.cat(parts)

    def exchange(self, tensor: Tensor, sent: list[int], received: list[int]) -> Callable[[], Tensor]:
        out, tensor = tensor.new_empty(sum(received)), tensor.contiguous()
        with _connected():
            work = self._dist.all_to_all_single(out, tensor, received, sent, self._way(tensor), async_op=True)

        def finish() -> Tensor:
            _wait(work)
            return out

        return finish

    def collect(self, value: T) -> list[T]:
        values: list[Any] = [None] * self.size
        with _connected():
            self._dist.all_gather_object(values, value)
        return values

    def of_leader(self, value: T) -> T:
        values = [value]
        with _connected():
            self._dist.broadcast_object_list(values)
        return values[0]

    def wait(self) -> None:
        self.sum_(torch.zeros(1))()

    def agree(self, facts: dict[str, Any]) -> None:
        of_leader, *others = self.collect(facts)
        for rank, found in enumerate(others, 1):
            told = [f"{k} {found.get(k)!r}, not {v!r}" for k, v in of_leader.items() if found.get(k) != v]
            if told or found.keys() != of_leader.keys():
                raise UserError(
                    f"all processes must be given the same, but rank {rank} differs from rank 0: "
                    + (", ".join(told) or "it has other flags")
                )

    def _way(self, tensor: Tensor) -> Any:
        """By what a tensor travels: None is the default group."""
        return self._nccl if tensor.is_cuda else None


class Launched(Group):
    """The group that torchrun started, as a context: only its leader writes to stdout, and where several processes
    fail, the first to do so tells why and the others end without a word."""

    def __init__(self) -> None:
        import torch.distributed as dist
        from torch.distributed.rendezvous import rendezvous

        with _connected():
            store, rank, size = next(iter(rendezvous("env://", timeout=PATIENCE)))
            # what processes before a restart by torchrun have left in the store is not for these
            self._store = dist.PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
            dist.init_process_group("gloo", store=self._store, rank=rank, world_size=size, timeout=PATIENCE)
        super().__init__()

    def use(self, device: torch.device) -> None:
        """Prepares for tensors on `device`: those of the current GPU go by NCCL."""
        if device.type == "cuda":
            device = torch.device("cuda", torch.cuda.current_device())
            self._nccl = self._dist.new_group(backend="nccl", device_id=device)

    def __enter__(self) -> Launched:
        if not self.leads:
            sys.stdout = open(os.devnull, "w")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        is_error = error is not None and not isinstance(error, SystemExit)
        tells = is_error and self._fails_first()
        self._dist.destroy_process_group()
        if is_error and not tells:
            raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 2) from None

    def _fails_first(self) -> bool:
        try:
            return self._store.add("failed", 1) == 1
        except RuntimeError:  # the store's process is gone
            return True


def launched() -> bool:
    """Whether torchrun, or whoever sets what it sets, has started this process."""
    return all(name in os.environ for name in LAUNCHED)


def join() -> Processes:
    """The group that this process was started for; ALONE without torchrun."""
    return Launched() if launched() else ALONE


def current() -> Processes:
    """The group of a program that has joined one by torch.distributed itself; ALONE otherwise."""
    return Group() if torch.distributed.is_available() and torch.distributed.is_initialized() else ALONE


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        told = " ".join(str(error).split()).split(". ")[0]
        raise UserError(f"another process of the group is lost, it was killed or broke off ({told[-100:]})") from None


def _wait(work: Any) -> None:
    with _connected():
        work.wait()


def use_share_of_cores(group: Processes) -> None:
    """Gives each of a machine's processes its share of the cores, unless OMP_NUM_THREADS says how many threads."""
    if group.size > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // group.local_size))
