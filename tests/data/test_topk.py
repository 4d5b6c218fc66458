"""The Top-k reader: what it reads, and each mistake told in one line."""

from __future__ import annotations

import re
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ans_fast.data import load
from ans_fast.data.checks import table_rows
from ans_fast.data.describe import describe
from ans_fast.data.tables import Table
from ans_fast.errors import UserError

HEADER = "user_id\titem_id\ttime\n"


def failing(folder, **options) -> str:
    with pytest.raises(UserError) as caught:
        load(folder.parent, folder.name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_reads(write) -> None:
    data = load(write().parent, "small")
    assert (data.name, data.mode, data.n_users, data.n_items) == ("small", "TopK", 4, 6)
    assert data.train.users.tolist() == [1, 1, 2, 3, 2]
    assert data.train.items.tolist() == [1, 2, 3, 4, 5]
    assert data.train.times.tolist() == [10, 20, 15, 16.5, 30]
    assert data.train.neg_items is None
    assert data.dev.neg_items.tolist() == [[4, 5], [1, 2]]
    assert data.clicks is data.train
    assert data.clicked_by_all.items.tolist() == [1, 2, 3, 4, 5, 3, 4, 4, 2]
    for array in (data.train.users, data.train.items, data.dev.neg_items):
        assert array.dtype == np.int64
    assert data.item_meta is None
    assert data.item_relations == {}


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffuser_id\titem_id\ttime\n1\t5\t10\n",
        "user_id\titem_id\ttime\r\n1\t5\t10\r\n",
        "\nuser_id\titem_id\ttime\n\n1\t5\t10\n\n\n",
        " \r\n" * 500_000 + "user_id\titem_id\ttime\n1\t5\t10\n",
        "user_id\titem_id\ttime" + "".join(f"\tc{i}" for i in range(30_000)) + "\n1\t5\t10" + "\t" * 30_000 + "\n",
        "user_id\titem_id\ttime\n1\t5\t10",
        "time\titem_id\tuser_id\n10\t5\t1\n",
        "user_id\titem_id\ttime\tc_hour\tname\n1\t5\t10\t3\tköln\n",
        "user_id\titem_id\ttime\n1.0\t5\t1e1\n",
        '"user_id"\t"item_id"\t"time"\n"1"\t"5"\t"10"\n',
    ],
    ids="bom crlf blank-lines many-blank-lines many-columns no-last-newline order extra-columns floats quotes".split(),
)
def test_reads_what_other_tools_write(write, text: str) -> None:
    train = load(write(train=text).parent, "small").train
    assert (train.users.tolist(), train.items.tolist(), train.times.tolist()) == ([1], [5], [10])


def test_other_separators(write) -> None:
    folder = write(
        **{
            s: f"user_id,item_id,time{n}\n1,3,3{v}\n"
            for s, n, v in [("train", "", ""), ("dev", ",neg_items", ',"[1, 2]"')]
        },
        test="user_id,item_id,time\n1,2,3\n",
    )
    data = load(folder.parent, "small", sep=",")
    assert data.dev.neg_items.tolist() == [[1, 2]]
    assert data.test.neg_items is None


def test_fingerprint(write) -> None:
    folder = write()

    def now(**options) -> str:
        return load(folder.parent, folder.name, **options).fingerprint

    first = now()
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert now() == now(regenerate=True) == first
    seen = [first]
    for name in ("train", "dev", "test"):
        path = folder / f"{name}.csv"
        path.write_text(path.read_text().replace("\n2\t", "\n1\t", 1))
        seen.append(now())
    for name in ("item_meta.csv", "description.json"):
        (folder / name).write_text("")
        seen.append(now())
    assert len(set(seen)) == 6


def test_fingerprint_tells_options_apart(write) -> None:
    folder = write(labelled=True)
    options = [{"mode": "CTR"}, {}, {"impression_key": "impression_id"}, {"test_max_neg_item": 3}]
    assert len({load(folder.parent, "small", **{"mode": "Impression", **o}).fingerprint for o in options}) == 4


def test_missing_set_names_close_ones(write) -> None:
    folder = write()
    assert re.search(r"no data set 'smal' in .*; there: small; did you mean small\?", failing(folder.with_name("smal")))
    assert "no data set is there" in failing(folder / "small")


@pytest.mark.parametrize("name", ["", ".", "..", "../small", "a/../small", "/etc", "a\0b", "a\nb", "\udce9"])
def test_names_stay_inside_their_folder(write, name: str) -> None:
    folder = write()
    with pytest.raises(UserError, match="the data set's name must be a folder's name") as caught:
        load(folder.parent, name)
    assert str(caught.value).isprintable()


def test_nested_and_long_names(write) -> None:
    folder = write()
    assert load(folder.parent.parent, f"{folder.parent.name}/small/").n_users == 4
    assert "no data set" in failing(folder.parent / ("x" * 300))


def test_a_set_that_was_moved_aside_is_found(write) -> None:
    folder = write()
    folder.rename(folder.with_name(".small.old"))
    assert load(folder.parent, "small").n_users == 4
    assert folder.is_dir()


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        (None, "train.csv is missing"),
        ("", "train.csv is empty"),
        ("  \n\n", "train.csv is empty"),
        (HEADER, "train.csv is empty below its first line"),
        (
            "user_id,item_id,time\n1,2,3\n",
            r"has one column 'user_id,item_id,time'; is the separator a comma\? try --sep ','",
        ),
        (
            "user_id\titem_id\ttimestamp\n1\t2\t3\n",
            "has no column 'time', but .*; rename 'timestamp' to it",
        ),
        ("1\t2\t3\n1\t2\t3\n", "has no column 'user_id', .* its first line must name the columns"),
        ("user_id\tuser_id\titem_id\ttime\n1\t2\t3\t4\n", "has two columns 'user_id'; keep one"),
        (HEADER + "1\t2\t3\nx7\t2\t3\n", "line 3: user_id is 'x7', expected a whole number from 1 to 100,000,000"),
        (HEADER + "1\t2\t3\n\n\nx7\t2\t3\n", "line 5: user_id is 'x7'"),
        (HEADER + "1\t2\t3\n1\t-4\t3\n", "line 3: item_id is '?-4'?, expected a whole number"),
        (HEADER + "1\t2\t3\n1\t0\t3\n", "line 3: item_id is '?0'?, expected a whole number from 1"),
        (HEADER + "1\t2.5\t3\n", "line 2: item_id is '2.5', expected a whole number"),
        (HEADER + "1\t\t3\n", "line 2: item_id is missing, expected a whole number"),
        (HEADER + "1\tnan\t3\n", "line 2: item_id is 'nan', expected a whole number"),
        (HEADER + "NA\t2\t3\n", "line 2: user_id is 'NA', expected a whole number"),
        (HEADER + "1\t2\t3\n1\t2\tnull\n", "line 3: time is 'null', expected a number"),
        (HEADER + "True\t2\t3\nTrue\t2\t3\n", "line 2: user_id is 'True', expected a whole number"),
        (HEADER + "1\tFALSE\t3\n", "line 2: item_id is 'FALSE', expected a whole number"),
        (HEADER + "1\t2\ttrue\n", "line 2: time is 'true', expected a number"),
        (HEADER + "1\t2\t1e300\n", r"line 2: time is 1e\+300, expected a number from -4e\+18 to 4e\+18"),
        ("\ufeff", "train.csv is empty"),
        ("\ufeff\r\n \n", "train.csv is empty"),
        ("\t\n\t\n", "train.csv is empty"),
        ("x" * 140_000 + "\n1\n", "train.csv must name its columns in its first line: field larger than"),
        ("x\t" * 65_000 + "x\n", "has two columns 'x'; keep one"),
        (HEADER + "1\t2\t3\n1\t2\n", "line 3 has 2 values, line 1 has 3 columns"),
        (HEADER + "1\t2\tinf\n", "line 2: time is '?inf'?, expected a number"),
        (HEADER + "1\t2\t2020-01-01\n", "line 2: time is '2020-01-01', expected a number"),
        (HEADER + "100000001\t2\t3\n", "line 2: user_id is 100000001, expected a whole number from 1 to 100,000,000"),
        (HEADER + "1\t99999999999999999999999\t3\n", "line 2: item_id is .*, expected a whole number"),
        (HEADER + "1\t2\t3\t4\n", "line 2 has 4 values, line 1 has 3 columns"),
        (HEADER + "1\t2\t3\n1\t2\t3\t4\n", "line 3 has 4 values, line 1 has 3 columns"),
        (HEADER + "1\t2\t3\n1\t2\t\n", "line 3: time is missing, expected a number"),
        (HEADER + '"1"\t2\t3\t4\n', "line 2 has more values than line 1"),
        (HEADER + '"1"\t2\t3\n1\t2\t3\t4\n', "Expected 3 fields in line 3, saw 4"),
        (HEADER + '1\t2\t3\n"1\t2\t3\n', "is malformed: EOF inside string"),
        (HEADER + '1\t2\t3\n1\t2\t"3\n1\t2\t3"\n', "is malformed: a quoted value runs over several lines|time is"),
        (HEADER.encode() + b"1\t2\t3\n1\t2\t\xe9\n", "line 3: byte 0xe9 is not UTF-8"),
        ((HEADER + "1\t2\t3\n").encode("utf-16"), "zero byte|not UTF-8"),
        (b"\x1f\x8b\x08\x00abc", "train.csv is packed by gzip; unpack it"),
    ],
)
def test_mistakes_in_train(write, train, expected: str) -> None:
    assert re.search(expected, failing(write(train=train)))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["[1, 2]", "[1, 2"], r"dev.csv line 3: neg_items is '\[1, 2', expected a list of ids such as \[3, 17, 5\]"),
        (["[1, 2]", "[1, x]"], r"line 3: neg_items is '\[1, x\]'"),
        (["[1, 2]", ""], "line 3: neg_items is missing"),
        (["[1, 2]", "[1]"], "line 3: neg_items has 1 ids, the rows before have 2"),
        (["[]", "[]"], "line 2: neg_items is empty"),
        (["[1, 2]", "[1, 6]"], r"line 3: neg_items holds 6, larger than every item_id of the three files \(5\)"),
        (["[1, 2]", "[4, 3]"], "line 3: neg_items holds the row's own item_id 3; take it out"),
        (["[1, 2]", "[0, 1]"], "line 3: neg_items holds 0, expected ids from 1"),
        (["[1, 2]", "[-3, 1]"], "line 3: neg_items is '"),
        (["[" + "1, " * 99 + "1]", "[2] "], "line 3: neg_items has 1 ids, the rows before have 100"),
    ],
)
def test_mistakes_in_neg_items(write, cells: list[str], expected: str) -> None:
    rows = "".join(f"1\t3\t40\t{cell}\n" for cell in cells)
    assert re.search(expected, failing(write(dev=f"user_id\titem_id\ttime\tneg_items\n{rows}")))


def test_repeats_are_counted(write) -> None:
    """User 1 has item 2 in train and again in dev and test; one row of dev holds item 4 twice."""
    head = "user_id\titem_id\ttime\tneg_items\n"
    folder = write(dev=f"{head}1\t2\t40\t[4, 4]\n2\t4\t41\t[1, 2]\n", test=f"{head}1\t2\t50\t[5, 3]\n")
    data = load(folder.parent, "small")
    assert (data.repeated_clicks, data.repeated_negatives) == (2, 1)
    assert data.remarks == [
        "2 of 3 clicks of dev and test are on an item that their user clicked in train",
        "1 of 3 rows of dev and test hold an item more than once in neg_items",
    ]
    assert [line for what, line in describe(data) if what == "remark"] == data.remarks


@pytest.mark.parametrize(("mode", "expected"), [("CTR", 4), ("Impression", 4)])
def test_repeated_clicks_of_labelled_rows(write, mode: str, expected: int) -> None:
    assert load(write(labelled=True).parent, "small", mode).repeated_clicks == expected


def test_no_remarks_without_repeats(write) -> None:
    assert load(write().parent, "small").remarks == []


@pytest.mark.parametrize(("column", "row"), [("user_id", "{}\t2\t3\n"), ("item_id", "1\t{}\t3\n")])
def test_sparse_ids_are_refused_before_memory_is_asked_for(write, column: str, row: str) -> None:
    folder = write(train=HEADER + "1\t1\t1\n" + row.format(100_000_000))
    tracemalloc.start()
    message = failing(folder)
    assert tracemalloc.get_traced_memory()[1] < 150e6
    tracemalloc.stop()
    assert f"small: {column} goes up to 100,000,000, of which" in message
    assert "a table would have 100,000,001 rows, 25.6 GB at emb_size 64; number the ids 1, 2, 3" in message


def test_sparse_ids_of_labelled_rows_are_refused(write) -> None:
    folder = write(labelled=True)
    (folder / "dev.csv").write_text("user_id\titem_id\ttime\tlabel\n1\t50000000\t1\t0\n1\t1\t1\t1\n")
    for mode in ("CTR", "Impression"):
        assert "item_id goes up to 50,000,000, of which 5 occur" in failing(folder, mode=mode)


def test_ids_may_have_some_gaps() -> None:
    """A million rows are nothing; above that every tenth id is to occur."""
    assert table_rows("user_id", [np.array([1, 999_999])], Path()) == 1_000_000
    assert table_rows("user_id", [np.arange(0, 2_000_000, 10), np.array([1_999_999])], Path()) == 2_000_000
    with pytest.raises(UserError, match="1,999,999, of which 181,820 occur"):
        table_rows("user_id", [np.arange(0, 2_000_000, 11), np.array([1_999_999])], Path())


def test_folder_in_place_of_file(write) -> None:
    folder = write(dev=None)
    (folder / "dev.csv").mkdir()
    assert "dev.csv is a folder, expected a file" in failing(folder)


@pytest.mark.parametrize("sep", ["", "::", '"', "\n"])
def test_separator_is_one_character(write, sep: str) -> None:
    assert "sep must be one ASCII character" in failing(write(), sep=sep)


def test_mode(write) -> None:
    assert "mode must be one of TopK, Impression, CTR, got 'topk'" in failing(write(), mode="topk")
    assert "has no column 'label'" in failing(write(), mode="CTR")


def test_item_meta(write) -> None:
    folder = write()
    (folder / "item_meta.csv").write_text("item_id\ti_kind\tr_near\n2\ta\t[1, 3]\n1\tb\t[]\n5\tc\t[2, 9]\n9\td\t[1]\n")
    data = load(folder.parent, "small")
    assert data.item_meta["i_kind"].to_dict() == {2: "a", 1: "b", 5: "c"}
    relation = data.item_relations["r_near"]
    rows = [relation.items[a:b].tolist() for a, b in pairwise(relation.indptr)]
    assert rows == [[], [], [1, 3], [], [], [2]]


def test_words_for_missing_are_values(write) -> None:
    folder = write()
    words = ["NA", "null", "None", "nan", "n/a", "N/A", "NULL", "NaN", "#N/A", "<NA>"]
    rows = "".join(f"{item}\t{word}\n" for item, word in enumerate(words, 1))
    (folder / "item_meta.csv").write_text(f"item_id\ti_kind\n{rows}")
    assert load(folder.parent, "small").item_meta["i_kind"].tolist() == words[:5]
    table = Table(folder / "item_meta.csv", {"i_kind": "text"})
    assert table["i_kind"].tolist() == words
    (folder / "item_meta.csv").write_text("item_id\ti_kind\n1\tNA\n2\t\n")
    with pytest.raises(UserError, match="line 3: i_kind is missing"):
        Table(folder / "item_meta.csv", {"i_kind": "text"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("item_id\tr_near\n1\t[1\n", r"line 2: r_near is '\[1'"),
        ("item_id\ti_a\n1\t2\n1\t3\n", "line 3: item_id 1 is there a second time"),
        ("id\ti_a\n1\t2\n", "has no column 'item_id'"),
    ],
)
def test_mistakes_in_item_meta(write, text: str, expected: str) -> None:
    folder = write()
    (folder / "item_meta.csv").write_text(text)
    data = load(folder.parent, "small")
    with pytest.raises(UserError, match=expected):
        _ = data.item_meta
