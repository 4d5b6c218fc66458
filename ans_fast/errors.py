"""The one exception that is meant for people, and how command lines show it."""

from __future__ import annotations

import sys
from collections.abc import Callable


class UserError(ValueError):
    """A mistake the user can mend, told in one line: where it is, what was expected, what came, what to do.

    The command lines print it as `error: MESSAGE` on stderr and exit with status 2, without a traceback.
    """


def reason(error: OSError) -> str:
    """What the operating system said, in a few lower-case words."""
    return (error.strerror or type(error).__name__).lower()


def exit_status(command: Callable[[], int], interrupted: str = "error: interrupted") -> int:
    """What `command` returns; after a UserError, shown on stderr, 2; after Ctrl-C, told by `interrupted`, 130."""
    try:
        return command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
