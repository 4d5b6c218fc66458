"""Steps that are recorded once and replayed: on a GPU a step's time is that of its kernels, not of their launches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from ans_fast.errors import UserError
from ans_fast.ops._seed import draw_seeds
from ans_fast.training.batches import Rows
from ans_fast.training.optimizer import Optimizer
from ans_fast.training.step import Step

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender

WARM_UP_STEPS = 2  # by the second everything that is made but once has been


class Graphs(Protocol):
    """Where work on a device is recorded."""

    def warm_up(self, function: Callable[[], None]) -> None:
        """Runs the function as it will be captured."""

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """Records what the function would do on the device, and does none of it. What is returned does it all, with the
        memory, the shapes and the numbers from Python that the function had."""


class CudaGraphs:
    """CUDA graphs that share their memory: they are replayed one after the other, and what one leaves there no other
    reads.

    Warm-up and captures share a stream, since what is made once in the former is bound to it: autograd's nodes that add
    up a parameter's gradients, and cuBLAS's handle.
    """

    def __init__(self, device: torch.device):
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def warm_up(self, function: Callable[[], None]) -> None:
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            function()
        current.wait_stream(self.stream)

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # the outer one brings back the current stream also where a capture fails
        with torch.cuda.stream(self.stream), torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            function()
        return graph.replay


class CapturedStep(Step):
    """A step that is one launch: by a counter on the device it takes a batch's rows and seeds from fixed memory, where
    it also leaves the losses.

    Whole batches and the short last one are a graph each. They are recorded again when an epoch comes with rows of
    other shapes, with another learning rate, or after a parameter has moved. Draws are those of `Step`, and results are
    its to the bit where kernels add up in a fixed order (torch.use_deterministic_algorithms).

    Args:
        model, optimizer: as in Step. The model must be one that `captures`.
        graphs: makes the Graphs of a device.
    """

    def __init__(self, model: Recommender, optimizer: Optimizer, graphs: Callable[[torch.device], Graphs]):
        super().__init__(model, optimizer)
        self._graphs = graphs
        self._replays: dict[int, Callable[[], None]] = {}  # by how many rows a batch has
        self._recorded: Any = None  # what the replays hold good for

    def epoch(self, rows: Rows, size: int) -> Iterator[Tensor]:
        sizes = [min(size, len(rows) - start) for start in range(0, len(rows), size)]
        seeds = draw_seeds(len(sizes), self.model.seed_count)
        if self._recorded is None or self._recorded != self._conditions(rows, size):
            self._record(rows, size, seeds, sorted(set(sizes), reverse=True))
            self._recorded = self._conditions(rows, size)
        for buffer, values in zip(self._rows.tensors(), rows.tensors(), strict=True):
            buffer.copy_(values)
        self._seeds.copy_(seeds)
        self._number.zero_()
        for number, n_rows in enumerate(sizes):
            self._replays[n_rows]()
            yield self._losses[number]

    def _conditions(self, rows: Rows, size: int) -> Any:
        """The conditions that a recorded step takes for given: shapes, addresses, and the optimizer's settings."""
        shapes = [(tensor.shape, tensor.dtype) for tensor in rows.tensors()]
        settings = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups]
        return size, shapes, settings, [tensor.data_ptr() for tensor in self._state()]

    def _state(self) -> list[Tensor]:
        """The tensors that a step changes."""
        return [*self.model.parameters(), *self.model.buffers(), *_kept_by(self.optimizer)]

    def _record(self, rows: Rows, size: int, seeds: Tensor, lengths: list[int]) -> None:
        device, self._recorded, self._replays = rows.users.device, None, {}
        self._rows, self._seeds = rows.map(torch.clone), seeds.to(device)
        self._number = torch.zeros(1, dtype=torch.int64, device=device)  # of the next batch
        self._losses: Tensor | None = None  # [batches, T]
        self._offsets = torch.arange(size, device=device)  # kept, as all that replays read: a graph keeps nothing

        def step(n_rows: int) -> None:
            batch = self._rows.take(self._number * size + self._offsets[:n_rows])
            values = self(batch, self._seeds.index_select(0, self._number)[0].unbind())
            if self._losses is None:
                self._losses = values.new_empty(len(seeds), len(values))
            self._losses.index_copy_(0, self._number, values[None])
            self._number.add_(1)

        graphs, replays = self._graphs(device), {}
        for n_rows in lengths:
            with undone(self._state(), self.optimizer):
                for _ in range(WARM_UP_STEPS):
                    graphs.warm_up(lambda n_rows=n_rows: step(n_rows))
                    self._number.zero_()
            self.optimizer.zero_grad()  # the capture makes gradients of its own
            replays[n_rows] = self._captured(graphs, lambda n_rows=n_rows: step(n_rows))
        self._replays = replays

    def _captured(self, graphs: Graphs, function: Callable[[], None]) -> Callable[[], None]:
        try:
            return graphs.capture(function)
        except RuntimeError as error:
            told = " ".join(str(error).split())[:150]
            raise UserError(
                f"a step of {self.model.name} can't be captured in a CUDA graph ({told}): give --capture 0, or fit "
                "capture=False"
            ) from error


@contextmanager
def undone(state: list[Tensor], optimizer: Optimizer) -> Iterator[None]:
    """After the block tensors are what they were, and so are torch's generators; what the optimizer keeps since is
    zeros, as it starts. Copies lie on the CPU: a GPU may be full."""
    before = [tensor.detach().to("cpu", copy=True) for tensor in state]
    known = {id(tensor) for tensor in state}
    devices = {tensor.device for tensor in state if tensor.device.type == "cuda"}
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, values in zip(state, before, strict=True):
                    tensor.copy_(values)
                for tensor in _kept_by(optimizer):
                    if id(tensor) not in known:
                        tensor.zero_()


def _kept_by(optimizer: Optimizer) -> list[Tensor]:
    """The tensors of an optimizer's state."""
    return [value for kept in optimizer.state.values() for value in kept.values() if isinstance(value, Tensor)]
