"""`python -m ans_fast.run`: train and evaluate a model from the command line, as ReChorus's main.py does."""

from __future__ import annotations

import sys

from ans_fast.command_line import exit_status


def main(argv: list[str] | None = None) -> int:
    """Runs with the flags `argv` (default: those of the process); the exit status: 0, 2 for a user's error, 130."""

    def command() -> int:
        from ans_fast.runner.main import run  # here, so that Ctrl-C during the slow imports is told in one line too

        return run(sys.argv[1:] if argv is None else argv)

    return exit_status(command)


if __name__ == "__main__":
    sys.exit(main())
