"""`python -m ans_fast.run`: train and evaluate a model from the command line, as ReChorus's main.py does."""

from __future__ import annotations

import os
import signal
import sys

from ans_fast.command_line import exit_status


def main(argv: list[str] | None = None) -> int:
    """Runs with the flags `argv` (default: those of the process); the exit status: 0, 2 for a user's error, 130."""

    def command() -> int:
        from ans_fast.runner.main import run

        return run(sys.argv[1:] if argv is None else argv)

    return exit_status(command)


if __name__ == "__main__":
    # OpenMP's threads wait for each other awake, a hundred times this long by default: alone on the machine it makes no
    # difference, beside another busy process a step takes half the time. Read when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # torch's import may swallow a KeyboardInterrupt, and break
    import ans_fast.runner.main  # noqa: F401

    signal.signal(signal.SIGINT, before)
    sys.exit(main())
