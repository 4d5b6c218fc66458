"""Which model the flags choose, and what they say of it."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from typing import Any

from ans_fast.models.ans import ANS
from ans_fast.models.base import Recommender
from ans_fast.models.encoded import SAMPLINGS, Encoded
from ans_fast.models.storage import option_names


@dataclass(frozen=True)
class Choice:
    """named: the class that --model_name says. model: the one to train, which is `ANS` with `named` for its base_model
    where --negative_sampling says so, and else the same."""

    named: type[Recommender]
    model: type[Recommender]

    @classmethod
    def of(cls, named: type[Recommender], args: Namespace) -> Choice:
        """The choice of all flags."""
        over = issubclass(named, Encoded) and args.negative_sampling == ANS.name
        return cls(named, ANS if over else named)

    def options(self, args: Namespace) -> dict[str, Any]:
        """The model's arguments that flags give."""
        given = {name: getattr(args, name) for name in option_names(self.model) if hasattr(args, name)}
        given["mode"] = args.mode.name
        return given if self.model is self.named else {**given, "base_model": self.named.name}

    def log_flags(self, args: Namespace) -> tuple[str, ...]:
        """The flags whose values the log's name holds: runs that differ in them have files of their own."""
        names = _log_flags(self.named, args)
        sampling = getattr(args, "negative_sampling", "uniform")
        if sampling == "uniform":
            return names  # as ReChorus has them
        own = SAMPLINGS[sampling] if self.model is self.named else _log_flags(self.model, args)
        own = [name for name in own if hasattr(args, name)]  # all but n_layers of ANS over BPRMF
        return tuple(dict.fromkeys((*names, "negative_sampling", *own)))


def _log_flags(model: type[Recommender], args: Namespace) -> tuple[str, ...]:
    return (*model.log_args, *(name for name in model.log_changes if name in args.changed))
