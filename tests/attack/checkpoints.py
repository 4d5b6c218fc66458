"""Damaged checkpoints and weights: refused in one line, or the run ends as with the whole file; no payload runs."""

from __future__ import annotations

import json
import random
import shutil
from functools import partial
from pathlib import Path

import torch

from ans_fast.runner.main import main
from tests.attack import archives, sets
from tests.attack.archives import MARK, TENSOR_CHANGES, VALUE_CHANGES
from tests.attack.attack import RIGHT, Attack, Case, Fault, check_nothing_left, check_right, judge
from tests.attack.child import Ended, in_child

RUNS = {
    "LightGCN, Adam": "--model_name LightGCN",
    "ANS, Adam": "--model_name ANS --num_neg 2",
    "BPRMF, Adagrad": "--model_name BPRMF --optimizer Adagrad",
    "GRU4Rec, SGD": "--model_name GRU4Rec --hidden_size 4 --optimizer SGD",
}
WAYS = {
    "weights": ("weights.pt", "--load 1 --train 0"),
    "checkpoint": ("weights.resume.pt", "--load 1 --epoch 3"),
}


class Checkpoints(Attack):
    """The base is a run and which of its files is damaged before it is loaded."""

    name = "checkpoints"

    def prepare(self, folder: Path) -> None:
        self.folder = folder
        sets.write_topk(folder / "data" / "small")
        for name in RUNS:
            home = folder / name
            home.mkdir()
            check_right(self._run(name, "", home))
            for way, (_, flags) in WAYS.items():
                shutil.copytree(home, folder / f"{name} {way}")
                check_right(self._run(name, flags, folder / f"{name} {way}"))

    def draw(self, rng: random.Random) -> Case:
        kinds = {"tensor": TENSOR_CHANGES, "value": VALUE_CHANGES}
        base = (rng.choice(list(RUNS)), rng.choice([*WAYS, "checkpoint"]))
        return Case(base, (archives.draw(rng, kinds),))

    def carry_out(self, case: Case, folder: Path) -> str:
        name, way = case.base
        home = folder / "run"
        shutil.copytree(self.folder / name, home)
        file, flags = WAYS[way]
        for damage in case.changes:
            damage.apply(home / file)
        damaged = (home / file).read_bytes()
        ended = self._run(name, flags, home)
        if (home / MARK).exists():
            raise Fault("a payload was executed")
        outcome = judge(ended)
        check_nothing_left(home)
        if outcome == RIGHT:
            self._compare(self.folder / f"{name} {way}", home)
        elif (home / file).read_bytes() != damaged:
            raise Fault("refused, yet the file was replaced")
        return outcome

    def _run(self, name: str, flags: str, home: Path) -> Ended:
        where = f"--path {self.folder}/data --dataset small --log_file log.txt --model_path weights.pt"
        argv = [*sets.SHORT, *RUNS[name].split(), *where.split(), "--save_final_results", "0", *flags.split()]
        return in_child(partial(main, argv), home)

    def _compare(self, expected: Path, got: Path) -> None:
        """A Fault unless both ended with the same weights and results."""
        for file in ("weights.pt", "weights.resume.pt"):
            one, other = (torch.load(home / file, weights_only=True)["weights"] for home in (expected, got))
            if one.keys() != other.keys() or not all(torch.equal(one[k], other[k]) for k in one):
                raise Fault(f"accepted in silence: {file} differs from that of an undamaged run")
        one, other = (json.loads((home / "log/results.json").read_text())["results"] for home in (expected, got))
        if one != other:
            raise Fault(f"accepted in silence: results {other}, expected {one}")
