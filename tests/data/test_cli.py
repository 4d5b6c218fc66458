"""`python -m ans_fast.data`: convert, describe, and mistakes as one line and exit status 2."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ans_fast.data import load
from ans_fast.data.command import main
from ans_fast.data.ids import read_ids
from tests.conftest import ROOT, real_data, refused


@pytest.fixture
def adjacency(tmp_path: Path) -> Path:
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "train.txt").write_text("0 5 7 1\n1 7 2 \n2\n3 1\n")
    (folder / "test.txt").write_text("0 2\n1\n3 5 7\n")
    return folder


@pytest.fixture
def atomic(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    lines = [f"u{u}\ti{u * 12 + t}\t{t % 5 + 1}\t{t}" for u in range(20) for t in range(12)]
    (folder / "films.inter").write_text(
        "\n".join(["user_id:token\titem_id:token\trating:float\ttimestamp:float", *lines])
    )
    return folder


def test_convert_adjacency(adjacency: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["convert", str(adjacency), "--out", str(tmp_path / "data")]) == 0
    assert "LightGCN's adjacency lists (train.txt, test.txt)" in capsys.readouterr().out
    data = load(tmp_path / "data", "lists")
    assert (data.n_users, data.n_items) == (4, 5)  # users 0, 1, 3; items 1, 2, 5, 7
    train = {*zip(data.train.users.tolist(), data.train.items.tolist(), strict=True)}
    dev = {*zip(data.dev.users.tolist(), data.dev.items.tolist(), strict=True)}
    assert train | dev == {(1, 3), (1, 4), (1, 1), (2, 4), (2, 2), (3, 1)}
    assert sorted(user for user, _ in dev) == [1, 2]
    assert [*zip(data.test.users, data.test.items, strict=True)] == [(1, 2), (3, 3), (3, 4)]
    assert data.test.neg_items is None


def test_convert_atomic(atomic: Path, tmp_path: Path) -> None:
    assert main(["convert", str(atomic), "--out", str(tmp_path / "data"), "--name", "f", "--min_rating", "2"]) == 0
    data = load(tmp_path / "data", "f")
    assert data.test.neg_items.shape == (20, 99)
    assert data.test.times.tolist() == [11] * 20
    assert data.dev.times.tolist() == [9] * 20
    assert main(["convert", str(atomic / "films.inter"), "--out", str(tmp_path / "data"), "--neg_items", "0"]) == 0
    assert load(tmp_path / "data", "films").test.neg_items is None


def test_convert_given_atomic(atomic: Path, tmp_path: Path) -> None:
    text = (atomic / "films.inter").read_text()
    for name in ("train", "valid", "test"):
        (atomic / f"films.{name}.inter").write_text(text)
    (atomic / "films.inter").unlink()
    assert main(["convert", str(atomic), "--out", str(tmp_path / "data")]) == 0
    assert len(load(tmp_path / "data", "films").dev) == 240


@pytest.mark.parametrize("name", ["ml-100k", "gowalla"])
def test_convert_real(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["convert", str(real_data(name)), "--out", str(tmp_path)]) == 0
    data = load(tmp_path, name)
    rows = len(data.train) + len(data.dev) + len(data.test)
    expected = {"ml-100k": (943, 1682, 100_000), "gowalla": (29_858, 40_981, 810_128 + 217_242)}[name]
    assert (data.n_users - 1, data.n_items - 1, rows) == expected
    assert main(["describe", name, "--path", str(tmp_path), "--plot", str(tmp_path / "x.png")]) == 0
    assert f"{expected[0]:,} ids" in capsys.readouterr().out
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("mode", ["TopK", "CTR", "Impression"])
def test_describe(write, mode: str, capsys: pytest.CaptureFixture) -> None:
    folder = write(labelled=mode != "TopK")
    assert main(["describe", "small", "--path", str(folder.parent), "--mode", mode]) == 0
    assert {"TopK": "2 rows of 2 users, 2 neg_items each", "CTR": "33.3% clicks", "Impression": "1 lists of 1 users"}[
        mode
    ] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("describe nothing --path {tmp}", "no data set 'nothing' in"),
        ("describe lists --path {tmp} --plot {tmp}/no/x.png", "train.csv is missing"),
        ("prepare ML_1MTOPK --raw {tmp}/no", "does not exist; unpack the original download there"),
        ("prepare ML_1MTOPK --raw {tmp}/lists", "ratings.dat is missing"),
        ("prepare MIND --raw {tmp}/lists", "has no behaviors.tsv"),
        ("prepare Toys --raw {tmp}/lists", "has neither reviews_Toys_5.json"),
        ("prepare Toys --raw {tmp}/lists --utc_offset 0", "--utc_offset is for ML_1MTOPK and ML_1MCTR alone"),
        ("prepare ML_1M --raw {tmp}/lists --split ratio --utc_offset 0", "--utc_offset is for ML_1MTOPK and ML_1MCTR"),
        ("prepare ../x --raw {tmp}/lists", "original must be a folder's name such as demo"),
        ("prepare .. --raw {tmp}/lists", "original must be a folder's name such as demo"),
        ("convert {tmp}/no", "no such file or directory; expected a .inter file or a folder"),
        ("convert {tmp}/no.csv --user a --item b", "no.csv is missing"),
        ("convert {tmp}/lists --user a --item b", "lists is no table of columns"),
        ("convert {tmp}", "0 .inter files and no train.txt"),
        ("convert {tmp}/lists --min_rating 3", "--min_rating needs ratings"),
        ("convert {tmp}/lists --name ../b", "--name must be a folder's name such as demo, .*, got '../b'"),
        ("convert {tmp}/lists --name {tmp}/b", "--name must be a folder's name"),
        ("convert {tmp}/lists --name . --out {tmp}", "--name must be a folder's name"),
        ("convert {tmp}/lists --name a\0b", r"--name: expected a path without control characters .*, got 'a\\x00b'"),
        ("convert {tmp}/lists --out {tmp}", "lists holds test.txt, which is no file of a data set, and would be"),
        ("convert {tmp}/films --split given --out {tmp}", "has no split of its own; use --split leave_one_out"),
        (
            "convert {tmp}/lists --k_core 2 --out {tmp}/o",
            "lists has its own split, which --k_core would change; choose",
        ),
        (
            "convert {tmp}/lists --test_from 3 --out {tmp}/o",
            "its own split, which --test_from would change; choose anoth",
        ),
        ("describe small --path {tmp} --plot {tmp}/films", "cannot write .*/films: is a directory"),
        ("convert {tmp}/films --split date --out {tmp}/o", "test_from, the time of the first test click, goes with"),
        ("convert {tmp}/films --k_core 2 --out {tmp}/o", "no user and item has 2 clicks"),
        ("convert {tmp}/films --min_rating 9 --out {tmp}", "films.inter has no row with a rating of at least 9"),
        ("convert {tmp}/films --out {tmp}/films/films.inter", "cannot write"),
    ],
)
def test_mistakes(
    arguments: str, expected: str, adjacency: Path, atomic: Path, write, tmp_path, capsys, monkeypatch
) -> None:
    write()
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments.format(tmp=tmp_path).split(" ")) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert re.search(expected, captured.err)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["train", "test"])
def test_mangled_adjacency(adjacency: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture) -> None:
    for text, expected in (("0 1 x\n", "line 1: expected whole numbers"), ("0 1\n2 -3\n", "line 2"), ("", "is empty")):
        (adjacency / f"{name}.txt").write_text(text)
        assert main(["convert", str(adjacency), "--out", str(tmp_path / "data")]) == 2
        assert expected in capsys.readouterr().err


def test_process() -> None:
    """The module as a command: help with defaults, a mistake without a traceback."""
    command = [sys.executable, "-m", "ans_fast.data"]
    shown = subprocess.run([*command, "describe", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert shown.returncode == 0
    assert "(default: data/)" in " ".join(shown.stdout.split())
    wrong = subprocess.run([*command, "describe", "x", "--path", "/nowhere"], capture_output=True, text=True, cwd=ROOT)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert (
        wrong.stderr == "error: no data set 'x' in /nowhere (no folder /nowhere/x); no data set is there; "
        "give its folder's parent as --path\n"
    )


def test_what_may_not_be_read_or_written(atomic: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    (tmp_path / "data").mkdir(mode=0o555)
    expected = {
        "convert films/films.inter": "cannot write data/films: permission denied",
        "convert locked": "locked: permission denied; expected a .inter file or a folder",
        "convert locked/a.inter": "locked/a.inter: permission denied; expected a .inter file or a folder",
        "convert locked/a.csv --user a --item b": "cannot read locked/a.csv: permission denied",
        "convert films --name locked --out .": "cannot read locked: permission denied",
        "convert films --name x --out locked": "cannot write locked/x: permission denied",
        "prepare Gowalla --split ratio --raw locked": "locked has none of loc-gowalla_totalCheckins.txt, "
        "nor a .gz of it",
        "prepare Gowalla --raw locked/x": "--raw locked/x does not exist; unpack the original download there",
        "prepare ML_1MTOPK --raw locked": "cannot read locked/ratings.dat: permission denied",
        "prepare MIND --raw locked": "locked has no behaviors.tsv, nor has a folder in it; unpack MIND's train and dev "
        "sets there",
        "prepare Toys --raw locked": "locked has neither reviews_Toys_5.json(.gz) nor Toys_5.json(.gz)",
        "describe locked --path .": "cannot read locked/train.csv: permission denied",
        "describe demo": "cannot write data/demo: permission denied",
    }
    assert refused("ans_fast.data.command", [*expected], tmp_path) == [*expected.values()]


@pytest.mark.parametrize("closed", [1, 2])
def test_closed_streams(tmp_path: Path, closed: int) -> None:
    """The exit status tells of what nobody could read."""
    command = [sys.executable, "-m", "ans_fast.data", "describe", *(["--help"] if closed == 1 else ["none"])]
    close = partial(os.close, closed)
    process = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, preexec_fn=close
    )
    assert (process.returncode, process.stdout) == (2, b"")
    assert process.stderr == (b"error: cannot write to stdout: bad file descriptor\n" if closed == 1 else b"")


def open_once_read(pipe: Path, reader: subprocess.Popen) -> int:
    """Opens a named pipe for writing as soon as the reader has it open; a minute at most."""
    for _ in range(600):
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert reader.poll() is None, reader.communicate()
            time.sleep(0.1)
    reader.kill()
    raise AssertionError("the command did not come to read its file")


def interrupt(process: subprocess.Popen) -> str:
    """Presses Ctrl-C as a person does, again where the first fell between two steps of Python: stderr at the end."""
    for _ in range(60):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=2)[1]
    process.kill()
    raise AssertionError("the command does not heed Ctrl-C")


def test_interrupt(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ratings.dat")  # reading waits for a writer
    process = subprocess.Popen(
        [sys.executable, "-m", "ans_fast.data", "prepare", "ML_1MTOPK", "--raw", str(tmp_path), "--out", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a background job may ignore it
    )
    pipe = open_once_read(tmp_path / "ratings.dat", process)
    errors = interrupt(process)
    os.close(pipe)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["ratings.dat"]


def test_seed_changes_the_draws(atomic: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert main(["convert", str(atomic), "--out", str(tmp_path / "data"), "--name", name, "--seed", seed]) == 0
    a, b, c = (load(tmp_path / "data", name).test.neg_items for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A table with ids as text, some of which CSV and JSON have to escape, and dates."""
    path = tmp_path / "shop.csv"
    rows = [f'"u,{u}";i], [{(u * 7 + k * 3) % 40};{k % 5 + 1};2024-03-{k + 1:02}' for u in range(12) for k in range(10)]
    path.write_text("\n".join(["who;what;stars;when", *rows, rows[3]]))
    return path


def test_convert_own_table(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = f"convert {own} --user who --item what --time when --sep ; --neg_items 0 --out {tmp_path}/data"
    assert main(arguments.split()) == 0
    assert "a table (shop.csv)" in (told := capsys.readouterr().out)
    assert "repeated clicks: 1 dropped" in told
    data = load(tmp_path / "data", "shop")
    assert [len(part) for part in (data.train, data.dev, data.test)] == [96, 12, 12]
    assert data.test.times.tolist() == [1_710_028_800] * 12  # 2024-03-10
    users, items = read_ids(tmp_path / "data/shop")
    expected = {f"u,{u}": f"i], [{(u * 7 + 27) % 40}" for u in range(12)}
    assert dict(zip(users[data.test.users], items[data.test.items], strict=True)) == expected


def test_archives_are_told(tmp_path: Path, capsys) -> None:
    with zipfile.ZipFile(tmp_path / "shop.csv", "w") as archive:
        archive.writestr("shop.csv", "who,what\n")
    flags = f"convert {tmp_path}/shop.csv --user who --item what --out {tmp_path}/data".split()
    assert main(flags) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/shop.csv is a zip archive; unpack it\n"
    (tmp_path / "shop.csv").write_bytes(gzip.compress(b"who,what\n"))
    assert main(flags) == 2
    assert "shop.csv is packed by gzip; unpack it, or let its name end in .gz" in capsys.readouterr().err


def test_packed_files(own: Path, atomic: Path, tmp_path: Path) -> None:
    """Named after what they hold."""
    for path in (own, atomic / "films.inter"):
        (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    columns = "--user who --item what --sep ;".split()
    for flags in ([f"{tmp_path}/shop.csv.gz", *columns], [f"{tmp_path}/films.inter.gz"]):
        assert main(["convert", *flags, "--neg_items", "0", "--out", str(tmp_path / "data")]) == 0
    assert (len(load(tmp_path / "data", "shop").test), len(load(tmp_path / "data", "films").test)) == (12, 20)


def test_a_core_of_ones_own_table(own: Path, tmp_path: Path) -> None:
    """Users have ten items; those items count that three of them have."""
    flags = f"convert {own} --user who --item what --time when --sep ; --neg_items 0 --k_core 3 --name core"
    assert main([*flags.split(), "--out", str(tmp_path)]) == 0
    data = load(tmp_path, "core")
    counts = [np.bincount(ids)[1:] for ids in (data.clicked_by_all.users, data.clicked_by_all.items)]
    assert min(map(min, counts)) >= 3
    assert data.description.source == "a table (shop.csv), 3-core"


@pytest.mark.parametrize(("how", "sizes"), [("ratio", [96, 12, 12]), ("time", [96, 12, 12])])
def test_splits_of_own_tables(own: Path, tmp_path: Path, how: str, sizes: list[int]) -> None:
    arguments = f"convert {own} --user who --item what --time when --sep ; --split {how} --out {tmp_path}/data"
    assert main(arguments.split()) == 0
    data = load(tmp_path / "data", "shop")
    assert [len(part) for part in (data.train, data.dev, data.test)] == sizes
    assert (data.description.rank, data.test.neg_items) == ("user", None)


def test_a_set_without_times_says_so(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = f"convert {own} --user who --item what --label stars --min_rating 3 --sep ; --neg_items 0 --name s"
    assert main([*arguments.split(), "--out", str(tmp_path)]) == 0
    assert main(["describe", "s", "--path", str(tmp_path), "--plot", str(tmp_path / "s.png")]) == 0
    assert re.search("^time +none, an order instead$", capsys.readouterr().out, re.MULTILINE)
    data = load(tmp_path, "s")
    assert len(data.train) + len(data.dev) + len(data.test) == 72  # 3 to 5 of 5 stars
    assert not data.description.times


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", "shop.csv is no .inter file: name a table's columns by --user and --item"),
        ("--sep ;", "--sep is for a table, whose columns --user and --item name"),
        ("--user who", "a table needs both --user and --item"),
        ("--user who --item what", "shop.csv has one column 'who;what;stars;when'; is the separator a semicolon?"),
        ("--user who --item that --sep ;", "shop.csv has no column 'that'"),
        ("--user who --item what --min_rating 3 --sep ;", "--min_rating needs ratings: name a table's column of them"),
        ("--user who --item what --time stars --label stars --sep ;", "must be different columns"),
        ("--user who --item what --time what --sep ;", "must be different columns"),
        ("--user who --item what --split time --sep ;", "a split by time needs times; name their column"),
        ("--user who --item what --split given --sep ;", "has no split of its own"),
    ],
)
def test_mistakes_with_own_tables(own: Path, tmp_path: Path, flags: str, expected: str, capsys) -> None:
    assert main(["convert", str(own), *flags.split(), "--out", str(tmp_path / "data")]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
