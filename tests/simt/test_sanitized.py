"""The kernels' tests again under AddressSanitizer and UndefinedBehaviorSanitizer: no access outside a tensor or shared
memory, no misaligned vector, no signed overflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.simt.build import HERE, ROOT, sanitizer_environment

# Of the operators' cases one of each layout of rows, in every dtype, and both backward paths; of what they leave out
# ids out of range, nothing to do, a seed in memory.
CASES = (
    "simt and ((ans_terms and (D7 or D300 or (B5 and D64))) or (hardest and (D7 or D300 or (B9 and D64))) or "
    "(log_sum_exp and (B5 or B64)) or (candidate_scores and (B5 or B70 or D300)) or (top_k_bpr and (B9 or B77)) or "
    "(star and (D7 or D64 or D260 or D300)) or distinct_ids)"
)
OTHERS = "out_of_range or no_pairs or memory or no_item or nothing or broken or distinct or D7 or D300"


def test_no_access_out_of_bounds():
    own = (Path(__file__).name, "test_harness.py")
    files = [str(file) for file in sorted(HERE.glob("test_*.py")) if file.name not in own]
    for chosen, of in ((CASES, ["tests/ops/test_cases.py"]), (OTHERS, files)):
        # -s: a report ends the process, and what pytest had captured of it would be lost.
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-s", "-p", "no:cacheprovider", "-k", chosen, *of]
        done = subprocess.run(command, cwd=ROOT, env=sanitizer_environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "AddressSanitizer" not in done.stderr
