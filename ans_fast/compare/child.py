"""`python -m ans_fast.compare.child`: `python -m ans_fast.run` that ends with the process which started it.

That process holds the other end of this one's stdin and writes nothing. However it ends, the system closes that end and
reading here returns: on every POSIX system, where prctl's PR_SET_PDEATHSIG is Linux's alone, and without code of ours
between fork and exec.
"""

from __future__ import annotations

import os
import runpy
import threading

STDIN = 0


def end_with_starter() -> None:
    """Waits for the starter's end, then ends this process at once; files are written whole or not at all."""
    os.read(STDIN, 1)  # not sys.stdin, whose lock would hold up this process's own end
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_starter, daemon=True).start()
    runpy.run_module("ans_fast.run", run_name="__main__", alter_sys=True)
