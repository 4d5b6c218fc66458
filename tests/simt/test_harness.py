"""The harness runs sound kernels right and finds the faults that it promises to find."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import numpy as np
import pytest

from tests.simt.build import HERE, compile_library, sanitizer_environment

SOURCE = HERE / "faults.cu"
ORDERS = (0, 1, 2)


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    library = ctypes.CDLL(compile_library([SOURCE]))
    library.last_failure.restype = ctypes.c_char_p
    yield library
    library.set_order(0)


def launch(library: ctypes.CDLL, kernel: str, threads: int, order: int = 0) -> tuple[np.ndarray, str]:
    """What the kernel wrote, and what the harness said about it."""
    out = np.full(threads, -1, dtype=np.float32)
    library.set_order(order)
    failed = getattr(library, f"run_{kernel}")(out.ctypes.data_as(ctypes.c_void_p), threads, 4 * threads)
    return out, library.last_failure().decode() if failed else ""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("threads", [32, 96, 1024])
def test_block_sum(library, threads, order):
    out, said = launch(library, "block_sum", threads, order)
    assert said == ""
    assert (out == threads * (threads - 1) / 2).all()


@pytest.mark.parametrize("order", ORDERS)
def test_halves_of_a_warp_may_use_their_own_masks(library, order):
    out, said = launch(library, "half_masks", 64, order)
    assert said == ""
    lane = np.arange(64) % 32
    assert (out == np.where(lane < 16, lane ^ 1, lane ^ 2) + 1600).all()


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("absent_thread", "63 of 64 threads wait for ever"),
        ("divergent_barrier", "divergent barrier: thread"),
        ("lying_mask", "mask 0xffffffff names lane"),
        ("own_lane_missing", "leaves out its caller, lane"),
        ("reads_outside_mask", "which its mask leaves out"),
        ("different_lengths", "names lane"),
    ],
)
@pytest.mark.parametrize("order", ORDERS)
def test_names_the_fault(library, kernel, message, order):
    _, said = launch(library, kernel, 64, order)
    assert message in said
    assert said.startswith("block (0, 0, 0): ")


def test_a_failed_launch_leaves_the_next_one_alone(library):
    launch(library, "absent_thread", 64)
    out, said = launch(library, "block_sum", 64)
    assert (said, out[0]) == ("", 64 * 63 / 2)


@pytest.mark.parametrize("kernel", ["no_barrier", "one_barrier_of_two"])
def test_a_dropped_barrier_gives_other_results(library, kernel):
    """A thread runs up to its next meeting point, so what it should have waited for is missing or gone."""
    threads = 64
    right = np.arange(threads)[::-1] if kernel == "no_barrier" else (np.arange(threads) + 1) % threads
    outs = [launch(library, kernel, threads, order)[0] for order in ORDERS]
    assert not all(np.array_equal(out, right) for out in outs)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("writes_past_end", "heap-buffer-overflow"),
        ("reads_past_shared", "heap-buffer-overflow"),
        ("misaligned_load", "misaligned address"),
    ],
)
def test_sanitizers_catch(kernel, message):
    program = (
        "import ctypes, numpy as np\n"
        f"library = ctypes.CDLL({str(compile_library([SOURCE], sanitize=True))!r})\n"
        "out = np.zeros(4096, dtype=np.float32)\n"  # large enough to come from malloc directly
        f"print(library.run_{kernel}(out[-64:].ctypes.data_as(ctypes.c_void_p), 64, 256))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=sanitizer_environment(), capture_output=True, text=True)
    assert done.returncode != 0
    assert message in done.stderr
