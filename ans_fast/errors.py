"""The one exception that is meant for people."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake the user can mend, told in one line: where it is, what was expected, what came, what to do.

    The command lines print it as `error: MESSAGE` on stderr and exit with status 2, without a traceback. What it
    repeats of files and flags cannot break the line: control characters are written as Python escapes them.
    """

    def __init__(self, message: str):
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message))


def reason(error: OSError) -> str:
    """What the operating system said, in a few lower-case words."""
    return (error.strerror or type(error).__name__).lower()
