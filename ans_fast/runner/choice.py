"""Which model the flags choose, and what they say of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ans_fast.errors import UserError
from ans_fast.flag_types import Choice
from ans_fast.models.ans import ANS, LossOptions
from ans_fast.models.base import Recommender
from ans_fast.models.encoded import SAMPLINGS, Encoded
from ans_fast.options import Option


@dataclass(frozen=True)
class ModelChoice:
    """named: the class that --model_name says. model: the one to train, which is `ANS` with `named` for its base_model
    where --negative_sampling says so, and else the same."""

    named: type[Recommender]
    model: type[Recommender]

    @classmethod
    def of(cls, named: type[Recommender], flags: Mapping[str, Any]) -> ModelChoice:
        """The choice of all flags."""
        over = issubclass(named, Encoded) and flags["negative_sampling"] == ANS.name
        return cls(named, ANS if over else named)

    def options(self, flags: Mapping[str, Any], mode: str) -> dict[str, Any]:
        """The model's arguments that flags give."""
        given = {name: flags[name] for name in ("loss_n", *self.model.options()) if name in flags}
        base = {} if self.model is self.named else {"base_model": self.named.name}
        return {"mode": mode, **given, **base}

    def check(self, flags: Mapping[str, Any], changed: Iterable[str]) -> None:
        """Raises UserError for a flag, of those that are not at their default, which the model to train lacks."""
        for name in changed:
            if name in model_flags(self.named) and name not in ("negative_sampling", *self.model.options()):
                if self.model is self.named:
                    raise UserError(f"--{name} needs --negative_sampling {ANS.name}, got {flags['negative_sampling']}")
                raise UserError(f"--{name} has no effect with --negative_sampling {ANS.name}")

    def log_flags(self, flags: Mapping[str, Any], changed: tuple[str, ...]) -> tuple[str, ...]:
        """The flags whose values the log's name holds: runs that differ in them have files of their own."""

        def of(model: type[Recommender]) -> tuple[str, ...]:
            own = (name for name, option in model.options().items() if option.names_runs and name in changed)
            loss = ("loss_n",) if flags.get("loss_n") in chain(*model.own_losses.values()) else ()
            return tuple(dict.fromkeys((*model.log_args, *loss, *own)))

        sampling = flags.get("negative_sampling", "uniform")
        if sampling == "uniform":
            return of(self.named)  # as ReChorus has them
        own = SAMPLINGS[sampling] if self.model is self.named else of(self.model)
        own = [name for name in own if name in flags]  # all but n_layers of ANS over BPRMF
        return tuple(dict.fromkeys((*of(self.named), "negative_sampling", *own)))


def model_flags(named: type[Recommender]) -> dict[str, Option[Any]]:
    """The options of a model that are flags, with those of ANS where --negative_sampling may choose that."""
    flags = {name: option for name, option in named.options().items() if option.help}
    if issubclass(named, Encoded):
        usual = " ".join(f"--{name} {value}" for name, value in ANS.DEFAULTS.items())
        own = named.negative_sampling
        told = f"{own.help}; ANS trains the model ANS over {named.name}, in any mode and by default with {usual}"
        flags["negative_sampling"] = own.but(kind=Choice((*SAMPLINGS, ANS.name)), help=told)
        flags |= LossOptions.options()
    return flags
