"""description.json: read as written, the defaults without it, and every fault one line that names the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ans_fast.data import load
from ans_fast.data.command import main
from ans_fast.data.description import Description, read_description, write_description
from ans_fast.errors import UserError


def test_round_trip(tmp_path: Path) -> None:
    written = Description("LightGCN adjacency lists", "its own", 3, times=False, rank="user", dropped_duplicates=2)
    write_description(tmp_path, written)
    assert read_description(tmp_path) == written


def test_defaults(tmp_path: Path) -> None:
    assert read_description(tmp_path) == Description(seed=None, times=True, rank="row", dropped_duplicates=0)
    (tmp_path / "description.json").write_text('{"rank": "user"}')
    assert read_description(tmp_path) == Description(rank="user")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("{", "is malformed: expected one JSON object"),
        ("[" * 100_000, "is malformed: expected one JSON object"),
        ("[]", "is malformed: expected one JSON object"),
        (
            '{"Rank": "user"}',
            "has a field 'Rank', expected source, split, seed, times, rank, .*, own_ids",
        ),
        ('{"rank": "item"}', "rank is 'item', expected user or row"),
        ('{"rank": ["user"]}', r"rank is \['user'\], expected user or row"),
        ('{"seed": true}', "seed is True, expected a whole number or null"),
        ('{"times": 1}', "times is 1, expected true or false"),
        ('{"dropped_duplicates": null}', "dropped_duplicates is None, expected a whole number"),
        ('{"source": "a\\nerror: b"}', "source is .*, expected a line of text"),
    ],
)
def test_faults(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "description.json").write_text(text)
    with pytest.raises(UserError, match=rf"description\.json.* {expected}"):
        read_description(tmp_path)
    (tmp_path / "description.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is malformed"):
        read_description(tmp_path)


def test_of_a_set(write, capsys: pytest.CaptureFixture) -> None:
    """A loaded set has it, also beside files that say nothing of it; describe shows it."""
    folder = write()
    assert load(folder.parent, "small").description == Description()
    write_description(folder, Description("a shop's log", "by a draw", times=False, rank="user"))
    assert load(folder.parent, "small").description.rank == "user"
    assert main(["describe", "small", "--path", str(folder.parent)]) == 0
    shown = capsys.readouterr().out
    for line in ("source  .*a shop's log", "split  .*by a draw", "time  .*none, an order instead"):
        assert re.search(f"^{line}$", shown, re.MULTILINE)
