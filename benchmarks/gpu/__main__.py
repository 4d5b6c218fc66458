"""Builds the CUDA half, checks it, times it, and writes a report to benchmarks/results: `make gpu-check`.

Needs Python, a CUDA build of torch, nvcc, ninja and numpy; no network, no pytest, no SciPy. From the source folder:

    python -m benchmarks.gpu                  # everything, in less than five minutes
    python -m benchmarks.gpu --longer 4       # with four times as long for each part
    python -m benchmarks.gpu --checks all     # the checks alone, of what is built
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent.parent


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checks", choices=("all", "small"), help="only these; the extension must be built")
    parser.add_argument("--longer", type=float, default=1.0, help="how many times the usual seconds each part has")
    args = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print(f"error: gpu-check needs a GPU and a CUDA build of torch, got torch {torch.__version__}", file=sys.stderr)
        return 2
    if args.checks is None:
        build()

    from benchmarks.gpu import parts  # what is built is loaded from here on
    from benchmarks.gpu.device import Gpu

    gpu = Gpu()
    if args.checks:
        return parts.only_checks(gpu, small=args.checks == "small")
    facts = gpu.facts() | {"date": date.today().isoformat()}
    if args.longer != 1:
        facts["time"] = f"{args.longer:g} times the usual"
    card = re.sub(r"[^a-z0-9]+", "-", facts["card"].split(",")[0].lower()).strip("-")
    return parts.everything(gpu, ROOT / "benchmarks/results" / f"gpu-{card}", facts, longer=args.longer)


def build() -> None:
    """The extension, in place, for this GPU alone."""
    major, minor = torch.cuda.get_device_capability()
    environment = {**os.environ, "ANS_FAST_CUDA": "1", "TORCH_CUDA_ARCH_LIST": f"{major}.{minor}"}
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    raise SystemExit(main())
