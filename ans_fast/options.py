"""One declaration of an option: it is an argument, a read-only attribute, a flag with its help, and what files keep.

    class LightGCN(Options):
        n_layers = Option(layers, 3, "graph convolution layers")

`LightGCN(n_layers=2).n_layers` is 2, `LightGCN(n_layers=-1)` is an error in the words of `--n_layers -1`, and
`LightGCN.options()` tells a command line what to ask for.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Generic, TypeVar, overload

from ans_fast.errors import UserError
from ans_fast.flag_types import OptionType

T = TypeVar("T")


class Option(Generic[T]):
    """What a class of Options declares.

    Args:
        kind: which values there are.
        default: the value where none is given; None says that there is none.
        help: of the flag.
        metavar: what stands for the flag's value there.
        names_runs: where it is not at its default, a run's files have it in their names.
        only: the values of other arguments, by name, with which it has an effect; without them it keeps its default.
    """

    name: str  # of the attribute

    def __init__(
        self,
        kind: OptionType,
        default: T,
        help: str = "",
        metavar: str | None = None,
        names_runs: bool = False,
        only: Mapping[str, Collection[Any]] = MappingProxyType({}),
    ):
        self.kind, self.default, self.help, self.metavar = kind, default, help, metavar
        self.names_runs, self.only = names_runs, only

    def but(self, **changes: Any) -> Option[T]:
        """The same with other arguments."""
        own = {name: value for name, value in vars(self).items() if name != "name"}
        return Option(**{**own, **changes})

    def lacks(self, values: Mapping[str, Any]) -> str | None:
        """The argument among `values`, which are by name, that leaves it without effect; None: it has one."""
        return next((name for name, needed in self.only.items() if name in values and values[name] not in needed), None)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Option[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else instance.__dict__["_chosen"][self.name]

    def __set__(self, instance: object, value: T) -> None:
        raise AttributeError(f"{self.name} is an option of {type(instance).__name__}: it is set when that is made")


class Options:
    """A class whose options are what it and its bases declare, its own first."""

    @classmethod
    def options(cls) -> Mapping[str, Option[Any]]:
        """The declarations by name."""
        found: dict[str, Option[Any]] = {}
        for part in cls.__mro__:
            for name, value in vars(part).items():
                if isinstance(value, Option):
                    found.setdefault(name, value)
        return MappingProxyType(found)

    @classmethod
    def values_of(cls, given: Mapping[str, Any], **others: Any) -> dict[str, Any]:
        """The options' values: those that are given, and defaults for the rest.

        others: arguments of the class that are no options, for those that look at them. Raises UserError, naming option
        and class, for a value that it cannot have or that has no effect beside the others, and TypeError for a name
        that is no option.
        """
        declared = cls.options()
        for name in given:
            if name not in declared:
                close = difflib.get_close_matches(name, declared, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise TypeError(f"{cls.__name__} has no option {name!r}{hint}")
        chosen = {}
        for name, option in declared.items():
            value = given.get(name, option.default)
            unset = value is None and option.default is None
            chosen[name] = None if unset else option.kind.taken(f"{name} of {cls.__name__}", value)
        values = {**others, **chosen}
        for name, option in declared.items():
            lacking = None if chosen[name] == option.default else option.lacks(values)
            if lacking is not None:
                needed = ", ".join(map(str, option.only[lacking]))
                told = f"{name} of {cls.__name__} has no effect with {lacking} {values[lacking]}"
                raise UserError(f"{told}, only with {needed}" if needed else told)
        cls.check_together(values)
        return chosen

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        """Raises UserError where values, those of options and of other arguments, do not go together."""

    def choose(self, given: Mapping[str, Any], **others: Any) -> None:
        """Takes the values that `values_of` these arguments gives."""
        self.__dict__["_chosen"] = self.values_of(given, **others)

    @property
    def chosen(self) -> Mapping[str, Any]:
        """The values by name."""
        return MappingProxyType(self.__dict__["_chosen"])
