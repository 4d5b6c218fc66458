"""The exceptions that are meant for people."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake the user can mend, told in one line: where it is, what was expected, what came, what to do.

    The command lines print it as `error: MESSAGE` on stderr and exit with status 2, without a traceback. What it
    repeats of files and flags cannot break the line: control characters are written as Python escapes them, and the
    middle of what is longer than LONGEST characters is left out.
    """

    LONGEST = 900

    def __init__(self, message: str):
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
        if len(line) > self.LONGEST:
            line = f"{line[: self.LONGEST // 2]} … {line[-self.LONGEST // 2 :]}"
        super().__init__(line)


class NoNegatives(UserError):
    """A user has clicked everything that could be drawn as a negative. user is its number."""

    def __init__(self, user: int, first_item: int):
        super().__init__(
            f"user {user} has clicked every item from {first_item} on, so no negative can be drawn: "
            "leave this user's clicks out of the training data"
        )
        self.user = user


def shown(value: object) -> str:
    """The value as Python writes it, its middle left out if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:45]} … {text[-10:]}"


def reason(error: OSError) -> str:
    """The operating system's words for the error, in lower case."""
    return (error.strerror or type(error).__name__).lower()
