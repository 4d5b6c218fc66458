"""`python -m tests.distributed.worker JOBS.json`: runs of the command line, one after the other, in one group."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ans_fast import distributed
from ans_fast.runner.main import run_in

if __name__ == "__main__":
    with distributed.join() as group:
        for flags in json.loads(Path(sys.argv[1]).read_text()):
            run_in(group, flags)
