"""Where flags are looked for: `lr=1e-4..1e-2:log num_neg=1,2,4 n_layers=1..4`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ans_fast.errors import UserError

if TYPE_CHECKING:
    from optuna import Trial

# Ranges of what models have in common and of the field's usual hyperparameters; a model is searched over its own.
DEFAULTS = {
    "lr": "1e-4..1e-2:log",
    "l2": "1e-8..1e-3:log",
    "n_layers": "1..4",
    "num_neg": "1,2,4,8,16",
    "gamma": "1e-4..1:log",
    "eps": "0.0..1.0",
    "reg_weight": "1e-7..1e-2:log",
    "dropout": "0..0.5",
    "temperature": "0.05..1:log",
}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


@dataclass(frozen=True)
class Range:
    """One flag's values: one of `choices`, or what lies from `low` to `high`: integers where both are."""

    flag: str
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False

    @classmethod
    def parse(cls, text: str) -> Range:
        """Of FLAG=A,B,C or FLAG=LOW..HIGH or FLAG=LOW..HIGH:log. Raises UserError."""
        flag, _, values = text.partition("=")
        flag = flag.removeprefix("--")
        bounds = re.fullmatch(rf"({_NUMBER})\.\.({_NUMBER})(:log)?", values)
        if not flag or not values or (".." in values and not bounds):
            raise UserError(f"--space must be FLAG=LOW..HIGH, FLAG=LOW..HIGH:log or FLAG=A,B,C, got {text!r}")
        if not bounds:
            return cls(flag, tuple(values.split(",")))
        low, high = (float(bound) if re.search("[.eE]", bound) else int(bound) for bound in bounds.groups()[:2])
        if low >= high or (bounds[3] and low <= 0):
            raise UserError(f"--space: {flag} must ascend{', above 0' if bounds[3] else ''}, got {values!r}")
        return cls(flag, (), low, high, bool(bounds[3]))

    def suggest(self, trial: Trial) -> str:
        """The value of a trial, as a flag has it."""
        if self.choices:
            return trial.suggest_categorical(self.flag, self.choices)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return str(trial.suggest_int(self.flag, self.low, self.high, log=self.log))
        return f"{trial.suggest_float(self.flag, self.low, self.high, log=self.log):.4g}"


def space_of(texts: Sequence[str], flags: Iterable[str], given: Iterable[str]) -> list[Range]:
    """The ranges of --space, then those of DEFAULTS for which there is neither one there nor a flag given.

    Args:
        texts: of --space.
        flags: that the model takes.
        given: flags of the command line, which keep their values.

    Raises:
        UserError: a range is malformed, comes twice, or is of a flag that is given or unknown.
    """
    own = [Range.parse(text) for text in texts]
    names, flags, given = [r.flag for r in own], set(flags), set(given)
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--space has {name} twice")
        if name in given:
            raise UserError(f"--{name} is given, so --space cannot have it too")
    rest = [Range.parse(f"{name}={values}") for name, values in DEFAULTS.items() if name in flags - given - set(names)]
    return own + rest


def command_line(values: dict[str, Any]) -> list[str]:
    """--FLAG VALUE of each."""
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]
