"""`python -m ans_fast.run`: train and evaluate a model from the command line, as ReChorus's main.py does."""

from __future__ import annotations

import sys

from ans_fast.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Runs with the flags `argv` (default: those of the process); the exit status: 0, 2 for a user's error, 130."""
    try:
        from ans_fast.runner.main import run

        return run(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
