"""The GPU that is measured. Whatever only a GPU has is called here, so that the tests can stand in for one."""

from __future__ import annotations

import gc
import shutil
import statistics
import subprocess
from collections.abc import Callable
from time import perf_counter

import torch
from torch.profiler import ProfilerActivity, profile

from ans_fast.training.captured import WARM_UP_STEPS, CudaGraphs, Graphs

Work = Callable[[], object]
REPEATS = 50
SECONDS = 0.5  # what the repeats of one measurement may take


class Gpu:
    """The first visible GPU.

    Attributes:
        device: where tensors go.
    """

    device = torch.device("cuda")

    def facts(self) -> dict[str, str]:
        """What figures depend on, by name."""
        properties = torch.cuda.get_device_properties(self.device)
        return {
            "card": f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB",
            "driver": _driver(),
            "torch": torch.__version__,
            "CUDA": str(torch.version.cuda),
        }

    def synchronize(self) -> None:
        """Waits until all work is done."""
        torch.cuda.synchronize()

    def graphs(self, device: torch.device) -> Graphs:
        """Where work on the device is recorded."""
        return CudaGraphs(device)

    def replayed(self, work: Work) -> Work:
        """`work`, recorded: the GPU's time without the gaps between launches."""
        graphs = self.graphs(self.device)
        for _ in range(WARM_UP_STEPS):
            graphs.warm_up(work)
        return graphs.capture(work)

    def median_ms(self, work: Work) -> float:
        """Milliseconds from the call of `work` to the end of what it started; it waits for nothing in between."""
        work()
        taken = self.seconds(work)
        times = [self._event_ms(work) for _ in range(min(max(int(SECONDS / taken), 3), REPEATS))]
        return statistics.median(times)

    def _event_ms(self, work: Work) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end)

    def seconds(self, work: Work) -> float:
        """Time on the wall, until all that `work` started has ended."""
        self.synchronize()
        began = perf_counter()
        work()
        self.synchronize()
        return perf_counter() - began

    def busy_seconds(self, work: Work) -> float:
        """For how long kernels and copies run on the GPU while `work` is done."""
        with profile(activities=[ProfilerActivity.CUDA]) as found:
            work()
            self.synchronize()
        on_gpu = (event for event in found.events() if event.device_type == torch.autograd.DeviceType.CUDA)
        return sum(event.time_range.elapsed_us() for event in on_gpu) / 1e6

    def peak_bytes(self, work: Work) -> int:
        """The most memory that tensors took while `work` was done, with those that were there before."""
        torch.cuda.reset_peak_memory_stats()
        work()
        self.synchronize()
        return torch.cuda.max_memory_allocated()

    def forget(self) -> None:
        """Gives back memory that nothing holds any more."""
        gc.collect()
        torch.cuda.empty_cache()


def _driver() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "unknown"
    command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True).stdout.split("\n")[0].strip() or "unknown"
