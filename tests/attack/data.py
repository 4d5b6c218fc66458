"""Mangled data: read, converted or prepared as a literal reader has it, or refused in one line."""

from __future__ import annotations

import csv
import json
import math
import random
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ans_fast.command_line import exit_status
from ans_fast.data import load
from ans_fast.data.command import main as data_main
from ans_fast.runner.main import main as run_main
from tests.attack import mangle, sets
from tests.attack.attack import RIGHT, Attack, Case, Fault, check_nothing_left, judge
from tests.attack.child import in_child

SPLIT_FILES = [f"{name}.csv" for name in sets.SPLITS]


class Data(Attack):
    """Each base is a set or a download in a folder, the separator of its columns, and what reads it."""

    name = "data"

    def draw(self, rng: random.Random) -> Case:
        base = rng.choice(list(_BASES))
        files = _BASES[base][1]
        return Case(base, tuple(mangle.draw(rng, files) for _ in range(rng.choice([0, 1, 1, 1, 2, 3]))))

    def carry_out(self, case: Case, folder: Path) -> str:
        write, _, sep, attempt = _BASES[case.base]
        write(folder / "in" / "small")
        for accident in case.changes:
            accident.apply(folder / "in" / "small", sep)
        before = {path: path.lstat().st_mtime_ns for path in (folder / "in").rglob("*")}
        outcome = judge(in_child(partial(attempt, folder), folder, 20))
        if {path: path.lstat().st_mtime_ns for path in (folder / "in").rglob("*")} != before:
            raise Fault("what was read has changed")
        check_nothing_left(folder)
        if outcome != RIGHT and (folder / "data").exists() and any((folder / "data").iterdir()):
            raise Fault("refused, yet wrote a set")
        if outcome != RIGHT and not case.changes:
            raise Fault("refused although nothing was changed")
        return outcome


def _read(mode: str, folder: Path) -> int:
    """Loads the set and compares its rows with a literal reader's."""

    def command() -> int:
        data = load(folder / "in", "small", mode)
        for split in sets.SPLITS if mode != "Impression" else ():
            path = folder / "in" / "small" / f"{split}.csv"
            text = path.read_bytes()
            if b'"' in text:
                continue
            columns, got = _literal_csv(text), getattr(data, split)
            _same(split, "user_id", columns["user_id"], got.users)
            _same(split, "item_id", columns["item_id"], got.items)
            _same(split, "time", columns["time"], got.times)
            if mode == "CTR":
                _same(split, "label", columns["label"], got.labels)
            elif split != "train" and "neg_items" in columns:
                cells = [[int(x) for x in cell.strip(" []").split(",")] for cell in columns["neg_items"]]
                assert cells == got.neg_items.tolist(), f"{split}: neg_items differ"
        return 0

    return exit_status(command)


def _literal_csv(text: bytes) -> dict[str, list[str]]:
    lines = re.split("\r\n|\r|\n", text.decode("utf-8-sig"))
    table = [line.split("\t") for line in lines if line.strip(" ")]
    return dict(zip(table[0], map(list, zip(*table[1:], strict=True)), strict=True))


def _same(split: str, name: str, expected: list[str], got: list) -> None:
    assert len(expected) == len(got), f"{split}: {len(got)} rows, expected {len(expected)}"
    for row, (text, value) in enumerate(zip(expected, got, strict=True)):
        assert math.isclose(float(text), value, rel_tol=1e-12), f"{split} row {row}: {name} {text!r} read as {value}"


def _train(flags: str, folder: Path) -> int:
    where = ["--path", f"{folder}/in", "--dataset", "small", "--log_file", f"{folder}/out/log.txt"]
    return run_main([*flags.split(), *sets.SHORT, *where, "--model_path", f"{folder}/out/weights.pt"])


def _describe(mode: str, folder: Path) -> int:
    return data_main(["describe", "small", "--path", f"{folder}/in", "--mode", mode])


def _convert(literal: Callable[[Path], set | None], flags: str, folder: Path) -> int:
    source = next((folder / "in").iterdir())
    status = data_main(["convert", str(source), "--out", f"{folder}/data", "--name", "new", *flags.split()])
    if status == 0:
        check_converted(folder / "data" / "new", literal(source))
    return status


def _prepare(name: str, literal: Callable[[Path], set | None], folder: Path) -> int:
    source = folder / "in" / "small"
    status = data_main(["prepare", name, "--raw", str(source), "--out", f"{folder}/data"])
    if status == 0:
        amazon = name == "Toys"  # whose candidates are drawn with replacement, as published
        check_converted(folder / "data" / name, literal(source), all_kept=amazon, distinct=not amazon)
    return status


def check_converted(folder: Path, pairs: set | None, all_kept: bool = True, distinct: bool = True) -> None:
    """The set's rows are these pairs of old ids (or some of them); its candidates are unclicked items."""
    users, items = (
        {new: old for old, new in json.loads((folder / f"{name}2newid.json").read_text()).items()}
        for name in ("user", "item")
    )
    rows: dict[str, list[dict[str, str]]] = {}
    for split in sets.SPLITS:
        with open(folder / f"{split}.csv", newline="") as file:
            rows[split] = list(csv.DictReader(file, delimiter="\t"))
        assert rows[split], f"{split} is empty"
    got = {(users[int(r["user_id"])], items[int(r["item_id"])]) for part in rows.values() for r in part}
    if pairs is not None:
        assert got <= pairs, f"made up: {sorted(got - pairs)[:3]}"
        assert not all_kept or got == pairs, f"lost: {sorted(pairs - got)[:3]}"
    for row in (*rows["dev"], *rows["test"]):
        candidates = json.loads(row.get("neg_items") or "[]")
        assert not distinct or len(set(candidates)) == len(candidates), f"candidates repeat: {row}"
        clicked = [c for c in candidates if (users[int(row["user_id"])], items[c]) in got]
        assert not clicked, f"candidates {clicked} were clicked: {row}"
    load(folder.parent, folder.name)


def _atomic_pairs(source: Path) -> set | None:
    """user and item of every row; None where the text leaves open what a row is."""
    pairs = set()
    for path in sorted(path for path in source.glob("*.inter") if path.is_file()):  # a folder is named, not read
        text = path.read_bytes()
        if text.count(b"\r") != text.count(b"\r\n"):
            return None
        lines = text.decode("utf-8-sig", "replace").replace("\r\n", "\n").split("\n")
        lines = [line for line in lines if line.strip(" ")]
        names = [name.split(":")[0] for name in lines[0].split("\t")]
        for line in lines[1:]:
            cells = line.split("\t")
            pairs.add((cells[names.index("user_id")], cells[names.index("item_id")]))
    return pairs


def _adjacency_pairs(source: Path) -> set | None:
    pairs = set()
    for path in sorted(source.glob("*.txt")):
        for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines():
            user, *items = [str(int(part)) for part in line.split()] or [""]
            pairs |= {(user, item) for item in items}
    return pairs


def _amazon_pairs(source: Path) -> set | None:
    lines = (source / "Toys_5.json").read_text("utf-8-sig").split("\n")
    records = [json.loads(line) for line in lines if line.strip()]
    return {(record["reviewerID"], record["asin"]) for record in records}


def _movielens_pairs(source: Path) -> set | None:
    lines = (source / "ratings.dat").read_bytes().removeprefix(b"\xef\xbb\xbf").decode("latin-1").splitlines()
    return {(str(int(line.split("::")[0])), str(int(line.split("::")[1]))) for line in lines if line.strip()}


_ATOMIC = ["small.inter"]
_ATOMIC_SPLITS = [f"small.{name}.inter" for name in ("train", "valid", "test")]
_BASES: dict[str, tuple[Callable[[Path], None], list[str], bytes, Callable[[Path], int]]] = {
    "read TopK": (sets.write_topk, SPLIT_FILES, b"\t", partial(_read, "TopK")),
    "read CTR": (sets.write_labelled, SPLIT_FILES, b"\t", partial(_read, "CTR")),
    "read Impression": (sets.write_labelled, SPLIT_FILES, b"\t", partial(_read, "Impression")),
    "describe TopK": (sets.write_topk, [*SPLIT_FILES, "item_meta.csv"], b"\t", partial(_describe, "TopK")),
    "describe CTR": (sets.write_labelled, SPLIT_FILES, b"\t", partial(_describe, "CTR")),
    "train": (sets.write_topk, SPLIT_FILES, b"\t", partial(_train, "--model_name BPRMF")),
    "train SLRCPlus": (sets.write_topk, ["item_meta.csv"], b"\t", partial(_train, "--model_name SLRCPlus")),
    "train Impression": (
        sets.write_labelled, SPLIT_FILES, b"\t", partial(_train, "--model_name BPRMF --model_mode Impression")
    ),
    "convert atomic": (
        partial(sets.write_recbole, splits=False), _ATOMIC, b"\t", partial(_convert, _atomic_pairs, "--neg_items 0")
    ),
    "convert atomic splits": (
        partial(sets.write_recbole, splits=True), _ATOMIC_SPLITS, b"\t", partial(_convert, _atomic_pairs, "")
    ),
    "convert adjacency": (
        sets.write_adjacency, ["train.txt", "test.txt"], b" ", partial(_convert, _adjacency_pairs, "")
    ),
    "prepare Amazon": (
        sets.write_amazon, ["Toys_5.json", "Toys_5.json", "meta_Toys.json"], b", ",
        partial(_prepare, "Toys", _amazon_pairs),
    ),
    "prepare MovieLens": (
        sets.write_movielens, ["ratings.dat", "ratings.dat", "movies.dat"], b"::",
        partial(_prepare, "ML_1MCTR", _movielens_pairs),
    ),
}  # fmt: skip
