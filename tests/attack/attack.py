"""What all attacks share: a case that can be drawn from a seed, carried out, judged, and made smaller."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.attack.child import Ended

RIGHT, REFUSED = "right", "refused"
LONGEST_MESSAGE = 1000


class Fault(Exception):
    """What an attack found."""


@dataclass(frozen=True)
class Case:
    """One try: what is attacked, and the changes made to it, which can be left out one by one."""

    base: Any
    changes: tuple[Any, ...]

    def __str__(self) -> str:
        return "\n".join([f"    on {self.base!r}", *(f"    {shown(change)}" for change in self.changes)])


class Attack(ABC):
    """Draws cases and carries them out in an empty folder."""

    name: str

    def prepare(self, folder: Path) -> None:  # noqa: B027 (most attacks share nothing)
        """Makes what all cases share, in a folder that stays. Raises Skip where the attack cannot be had here."""

    @abstractmethod
    def draw(self, rng: random.Random) -> Case:
        """The case of one seed."""

    @abstractmethod
    def carry_out(self, case: Case, folder: Path) -> str:
        """RIGHT or REFUSED. Raises Fault."""


class Skip(Exception):
    """Why an attack cannot be had on this machine."""


@dataclass
class Tally:
    """Outcomes of an attack's tries; faults as text that says how to see them again."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = self.outcomes
        return f"{counts.total()} tries: {counts[RIGHT]} right, {counts[REFUSED]} refused, {len(self.faults)} FAULTS"


def run(attack: Attack, seed: int, numbers: Iterable[int], most_faults: int = 10) -> Iterator[Tally]:
    """Carries out the cases of these numbers; the tally after each."""
    tally = Tally()
    with _folder() as shared:
        attack.prepare(shared)
        for number in numbers:
            case = attack.draw(random.Random(f"{attack.name} {seed} {number}"))
            try:
                tally.outcomes[_once(attack, case)] += 1
            except Fault as fault:
                tally.outcomes["FAULT"] += 1
                case, fault = smallest(attack, case, fault)
                tally.faults.append(f"{attack.name} --seed {seed} --case {number}: {fault}\n{case}")
            yield tally
            if len(tally.faults) >= most_faults:
                return


def smallest(attack: Attack, case: Case, fault: Fault) -> tuple[Case, Fault]:
    """The case without the changes that it takes not for a fault, and the fault that is left."""
    for at in reversed(range(len(case.changes))):
        less = Case(case.base, case.changes[:at] + case.changes[at + 1 :])
        try:
            _once(attack, less)
        except Fault as still:
            case, fault = less, still
    return case, fault


def _once(attack: Attack, case: Case) -> str:
    with _folder() as folder:
        return attack.carry_out(case, folder)


@contextmanager
def _folder() -> Iterator[Path]:
    memory = "/dev/shm"  # where files need not be flushed to a disk
    folder = Path(tempfile.mkdtemp(prefix="attack-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def judge(ended: Ended) -> str:
    """RIGHT for an end without an error, REFUSED for one error in one line; a Fault otherwise."""
    told = "\n".join(ended.err.strip().splitlines()[-3:])[-400:]
    if ended.hung:
        raise Fault(f"hangs; stderr: {told}")
    if ended.status < 0:
        raise Fault(f"killed by signal {-ended.status}; stderr: {told}")
    if "Traceback" in ended.err or "Exception ignored" in ended.err:
        raise Fault(f"traceback, status {ended.status}: {told}")
    if ended.status == 0:
        if ended.err:
            raise Fault(f"status 0 with words on stderr: {told}")
        return RIGHT
    if not ended.err.startswith("error: ") or not ended.err.endswith("\n") or not ended.err[:-1].isprintable():
        raise Fault(f"status {ended.status}, but not one printable line: {told!r}")
    if len(ended.err) > LONGEST_MESSAGE:
        raise Fault(f"an error of {len(ended.err)} characters: {told!r}")
    if ended.status != 2:
        raise Fault(f"status {ended.status} after {told!r}")
    return REFUSED


def check_right(ended: Ended) -> None:
    """A Fault unless it ended without an error."""
    if judge(ended) != RIGHT:
        raise Fault(f"refused although nothing is amiss: {ended.err}")


def check_nothing_left(folder: Path) -> None:
    """A Fault if a temporary file is left under the folder."""
    left = [path for path in folder.rglob("*") if path.name.endswith((".tmp", ".old"))]
    if left:
        raise Fault(f"left behind: {', '.join(str(path.relative_to(folder)) for path in left)}")


def shown(value: Any, most: int = 200) -> str:
    """repr, cut."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]} ({len(text)} characters)"
