"""The kernels' tests again under AddressSanitizer and UndefinedBehaviorSanitizer: no access outside a tensor or shared
memory, no misaligned vector, no signed overflow."""

from __future__ import annotations

import subprocess
import sys

from tests.simt.build import HERE, ROOT, sanitizer_environment

# One of each layout of rows, both backward paths, every dtype, ids out of range, nothing to do, some nodes.
CHOSEN = (
    "(star and (7 or 64 or 300)) or (short and (260 or 72)) or H1-D1- or D7 or D64 or D300 or out_of_range or "
    "no_pairs or (draws and 123456789012345) or no_item or nothing_to_choose or broken or distinct or "
    "(some_nodes and star and (0 or 3))"
)


def test_no_access_out_of_bounds():
    # -s: a report ends the process, and what pytest had captured of it would be lost.
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-s", "-p", "no:cacheprovider", "-k", CHOSEN]
    names = ("ans_terms", "propagate", "sample_negatives", "hardest_negatives", "log_sum_exp", "distinct_ids")
    command += [str(HERE / f"test_{name}.py") for name in names]
    done = subprocess.run(command, cwd=ROOT, env=sanitizer_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "AddressSanitizer" not in done.stderr
