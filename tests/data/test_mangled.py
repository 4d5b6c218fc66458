"""Mangled files: each is a UserError or loads as a literal reader reads it, never another exception."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ans_fast.data import Dataset, load
from ans_fast.data.checks import check_dataset
from ans_fast.errors import UserError

EXAMPLES = int(os.environ.get("ANS_FAST_FUZZ", 200))
BYTES = b'0123456789\t\n\r,[]"-. eExn\x00\xff\xc3'


def rows(rng: np.random.Generator, n: int, negatives: bool, labels: bool) -> list[str]:
    header = "user_id\titem_id\ttime" + "\tneg_items" * negatives + "\tlabel" * labels
    lines = [header]
    for _ in range(n):
        item = rng.integers(1, 9)
        cells = [rng.integers(1, 9), item, rng.integers(0, 99)]
        others = (item + rng.integers(0, 7, 3)) % 8 + 1
        lines.append(
            "\t".join(map(str, cells))
            + (f"\t{others.tolist()}" if negatives else "")
            + (f"\t{rng.integers(2)}" if labels else "")
        )
    return lines


@st.composite
def mangled(draw: st.DrawFn) -> tuple[bytes, str]:
    """A file's bytes after one to three accidents, and the mode to read it in."""
    mode = draw(st.sampled_from(["TopK", "TopK", "CTR", "Impression"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    lines = rows(rng, draw(st.integers(0, 12)), mode == "TopK", mode != "TopK")
    for _ in range(draw(st.integers(0, 2))):
        accident = draw(st.sampled_from(["duplicate", "drop row", "drop column", "swap", "blank", "cut cell"]))
        at = draw(st.integers(0, max(len(lines) - 1, 0)))
        if not lines:
            break
        if accident == "duplicate":
            lines.insert(at, lines[at])
        elif accident == "drop row":
            del lines[at]
        elif accident == "drop column":
            column = draw(st.integers(0, 3))
            lines = ["\t".join(c for i, c in enumerate(line.split("\t")) if i != column) for line in lines]
        elif accident == "swap":
            lines[at] = "\t".join(reversed(lines[at].split("\t")))
        elif accident == "blank":
            lines.insert(at, draw(st.sampled_from(["", " ", "\t\t\t"])))
        else:
            lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
    data = bytearray("\n".join([*lines, ""]).encode())
    for _ in range(draw(st.integers(0, 2))):
        if data:
            at = draw(st.integers(0, len(data) - 1))
            data[at : at + draw(st.integers(0, 1))] = bytes([draw(st.sampled_from(BYTES))])
    return bytes(data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))]), mode


def attempt(path: str | Path, name: str, mode: str) -> tuple[Dataset | None, str]:
    """The data set, or None and the UserError's message."""
    try:
        return load(path, name, mode), ""
    except UserError as error:
        return None, str(error)


def literally(data: bytes) -> dict[str, list[str]]:
    """The columns of a file without quotes, by splitting."""
    lines = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    table = [line.split("\t") for line in lines if line.strip(" ")]
    return dict(zip(table[0], map(list, zip(*table[1:], strict=True)), strict=True))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mangled(), st.sampled_from(["train", "dev", "test"]))
def test_mangled_files(case: tuple[bytes, str], victim: str) -> None:
    data, mode = case
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "set"
        target.mkdir()
        for split in ("train", "dev", "test"):
            good = rows(rng, 40, mode == "TopK" and split != "train", mode != "TopK")
            (target / f"{split}.csv").write_bytes(data if split == victim else "\n".join(good).encode())
        before = sorted(target.iterdir())
        loaded, message = attempt(folder, "set", mode)
        assert sorted(target.iterdir()) == before
    if loaded is None:
        assert message.isprintable()
        assert len(message) < 600
        return
    check_dataset(loaded)
    if mode == "Impression" or b'"' in data:
        return
    expected, got = literally(data), getattr(loaded, victim)
    assert [float(x) for x in expected["user_id"]] == got.users.tolist()
    assert [float(x) for x in expected["item_id"]] == got.items.tolist()
    assert all(math.isclose(float(a), b) for a, b in zip(expected["time"], got.times, strict=True))
    if mode == "CTR":
        assert [float(x) for x in expected["label"]] == got.labels.tolist()
    elif victim != "train" and "neg_items" in expected:
        cells = [[int(x) for x in cell.strip(" []").split(",")] for cell in expected["neg_items"]]
        assert cells == got.neg_items.tolist()


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_every_truncation(write, split: str) -> None:
    folder = write()
    whole = (folder / f"{split}.csv").read_bytes()
    for length in range(len(whole)):
        (folder / f"{split}.csv").write_bytes(whole[:length])
        loaded, message = attempt(folder.parent, "small", "TopK")
        assert loaded or f"{split}.csv" in message or "neg_items holds" in message
        if loaded:
            check_dataset(loaded)
