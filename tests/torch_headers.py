"""Brings the headers of several torch releases to build/torch-headers/VERSION: `python tests/torch_headers.py`.

pip downloads the macOS wheels, the smallest that there are of every release (80 to 130 MB); the headers in them are
those of all platforms. What is there already is not brought again.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "build/torch-headers"
FIRST = "2.10.0"
RELEASES = (f"=={FIRST}", "==2.11.0", "==2.12.0", "==2.13.0", "")  # "": the newest
PLATFORMS = ("macosx_11_0_arm64", "macosx_14_0_arm64")
needs_headers = pytest.mark.skipif(
    not (FOLDER / FIRST).exists(), reason="no headers of other torches: make torch-versions brings them"
)


def bring(release: str) -> str:
    """The version whose headers are now there, of a release such as "==2.11.0" or "" for the newest."""
    wanted = FOLDER / release.removeprefix("==")
    if release and wanted.exists():
        return wanted.name
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version=3.12", *(f"--platform={name}" for name in PLATFORMS)]
        subprocess.run([*command, "-d", folder, f"torch{release}"], check=True)
        wheel = next(Path(folder).glob("torch-*.whl"))
        target = FOLDER / wheel.name.split("-")[1]
        if not target.exists():
            unpacked = Path(folder, "unpacked")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unpacked, [n for n in archive.namelist() if n.startswith("torch/include/")])
            (unpacked / "torch/include").rename(target)
    return target.name


def unknown_to_the_first(library: Path) -> set[str]:
    """The symbols that a shared library wants of torch and that the first release's stable C interface lacks."""
    said = subprocess.check_output(["nm", "-D", "--undefined-only", "--no-demangle", library], text=True)
    wanted = {line.split()[-1].split("@")[0] for line in said.splitlines()}
    wanted = {name for name in wanted if re.search("aoti|torch|c10|at_", name)}
    assert wanted, f"{library} uses nothing of torch?"
    shims = [FOLDER / FIRST / "torch/csrc" / name for name in ("stable/c/shim.h", "inductor/aoti_torch/c/shim.h")]
    known = set(re.findall(r"\w+", "".join(path.read_text() for path in shims)))
    # The number of a type, layout or device is declared by a macro: of these only the last part stands in the file.
    return {name for name in wanted - known if re.sub(r"aoti_torch_(dtype|layout|device_type)_", "", name) not in known}


if __name__ == "__main__":
    for each in RELEASES:
        print(f"headers of torch {bring(each)}", flush=True)
