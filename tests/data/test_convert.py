"""Other tools' sets against literal rules: who is in which split, whatever the order of the files' lines."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ans_fast.data import load
from ans_fast.data.description import Description, read_description
from ans_fast.data.prepare.convert import Rules, convert
from ans_fast.data.prepare.sources import find_source
from ans_fast.errors import UserError

SPLITS = ("train", "dev", "test")
Rows = dict[str, list[tuple[str, str, float]]]


def converted(
    files: dict[str, str | bytes],
    folder: Path,
    split: str = "auto",
    neg_items: bool | None = False,
    min_rating: float | None = None,
    seed: int = 0,
) -> tuple[Rows, Description, list[str]]:
    """The rows (user, item, time) of each split by the source's own ids, the description, and what was told."""
    source, target = folder / "source", folder / "set"
    source.mkdir(exist_ok=True)
    for old in source.iterdir():
        old.unlink()
    for name, text in files.items():
        (source / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    rules = Rules(split, None, min_rating, None, neg_items, seed)
    told = convert(find_source(source, None, ","), target, rules)
    users, items = (
        {new: old for old, new in json.loads((target / f"{who}2newid.json").read_text()).items()}
        for who in ("user", "item")
    )
    frames = (pd.read_csv(target / f"{name}.csv", sep="\t") for name in SPLITS)
    rows = {
        name: [(users[u], items[i], t) for u, i, t in zip(frame.user_id, frame.item_id, frame.time, strict=True)]
        for name, frame in zip(SPLITS, frames, strict=True)
    }
    return rows, read_description(target), told


def atomic(rows: list[tuple], header: str = "user_id:token item_id:token timestamp:float") -> str:
    return "\n".join(["\t".join(header.split()), *("\t".join(map(str, row)) for row in rows), ""])


def pairs(rows: Rows, split: str) -> list[tuple[str, str]]:
    return sorted((user, item) for user, item, _ in rows[split])


# ---- splits ----


def test_leave_one_out_by_time(tmp_path: Path) -> None:
    rows = [(f"u{u}", f"i{i}", (i * 7 + u) % 31) for u in range(5) for i in range(9)]
    made, description, _ = converted({"a.inter": atomic(rows)}, tmp_path)
    for user in {row[0] for row in rows}:
        of_user = sorted((row for row in rows if row[0] == user), key=lambda row: row[2])
        assert [row for row in made["train"] if row[0] == user] == of_user[:-2]
        assert [row for split in ("dev", "test") for row in made[split] if row[0] == user] == of_user[-2:]
    assert (description.times, description.rank, description.seed) == (True, "row", 0)
    assert "by time, ties drawn with seed 0, for test" in description.split


def test_leave_one_out_without_times_is_drawn(tmp_path: Path) -> None:
    """Not the last row, which is often the largest id; the same for one seed, in whatever order the rows come."""
    rows = [("a", 1), ("a", 2), ("a", 3)]
    header = "user_id:token item_id:token"
    seen = Counter()
    for seed in range(20):
        results = [
            converted({"a.inter": atomic(list(order), header)}, tmp_path, seed=seed)[0]
            for order in (rows, [rows[1], rows[2], rows[0]])
        ]
        assert results[0] == results[1]
        seen[results[0]["test"][0][1]] += 1
    assert set(seen) == {"1", "2", "3"}
    assert min(seen.values()) > 1
    _, description, _ = converted({"a.inter": atomic(rows, header)}, tmp_path, seed=7)
    assert description.seed == 7
    assert not description.times
    assert "drawn with seed 7" in description.split
    assert "times: none; made up so that train comes before dev, dev before test" in description.told()


def test_drawn_items_are_no_larger_than_others(tmp_path: Path) -> None:
    lists = "".join(f"{u} {' '.join(map(str, range(40)))}\n" for u in range(200))
    made, _, _ = converted({"train.txt": lists, "test.txt": "0 40\n"}, tmp_path, split="leave_one_out")
    for split in ("dev", "test"):
        drawn = [int(item) for _, item, _ in made[split]]
        assert len(drawn) == 200
        assert abs(np.mean(drawn) - 19.5) < 4 * (40**2 / 12 / 200) ** 0.5


def test_clicks_of_one_time_are_drawn(tmp_path: Path) -> None:
    """A session of one second has no last click either; the times before it still count."""
    rows = [("a", "first", 1), ("a", "x", 2), ("a", "y", 2), ("a", "z", 2)]
    seen = set()
    for seed in range(12):
        orders = [
            converted({"a.inter": atomic(list(order))}, tmp_path, seed=seed)[0]
            for order in itertools.islice(itertools.permutations(rows), 0, 24, 13)
        ]
        assert all(order == orders[0] for order in orders)
        assert ("a", "first") in pairs(orders[0], "train")
        seen.add(orders[0]["test"][0][1])
    assert seen == {"x", "y", "z"}


def test_the_earliest_of_repeats_counts(tmp_path: Path) -> None:
    rows = [("a", "x", 5), ("a", "y", 2), ("a", "z", 3), ("a", "x", 1)]
    for order in itertools.permutations(rows):
        made, description, _ = converted({"a.inter": atomic(list(order))}, tmp_path)
        assert made == {"train": [("a", "x", 1)], "dev": [("a", "y", 2)], "test": [("a", "z", 3)]}
        assert description.dropped_duplicates == 1
    assert "repeated clicks: 1 dropped, the earliest counts" in description.told()


def test_repeats_in_given_splits(tmp_path: Path) -> None:
    """Once in each file; where a test click repeats a train click, both files keep it."""
    files = {"train.txt": "0 1 2 1\n0 2 3\n", "valid.txt": "0 4 4\n", "test.txt": "0 5 1 5\n"}
    made, description, _ = converted(files, tmp_path)
    assert [pairs(made, split) for split in SPLITS] == [
        [("0", "1"), ("0", "2"), ("0", "3")],
        [("0", "4")],
        [("0", "1"), ("0", "5")],
    ]
    assert description.dropped_duplicates == 4


@pytest.mark.parametrize("kind", ["lists", "atomic"])
def test_a_valid_file_is_dev(tmp_path: Path, kind: str) -> None:
    if kind == "lists":
        files = {"train.txt": "0 1 2\n1 3\n", "valid.txt": "0 3\n", "test.txt": "0 4\n1 4 1\n", "user_list.txt": ""}
    else:
        clicks = {"train": [(0, 1), (0, 2), (1, 3)], "valid": [(0, 3)], "test": [(0, 4), (1, 4), (1, 1)]}
        header = "user_id:token item_id:token"
        files = {f"s.{split}.inter": atomic(rows, header) for split, rows in clicks.items()}
        files |= {"s.item": "item_id:token\n", "s.inter": atomic([(0, 1)], header), "new\nline": ""}
    made, description, told = converted(files, tmp_path, neg_items=None)
    assert pairs(made, "train") == [("0", "1"), ("0", "2"), ("1", "3")]
    assert pairs(made, "dev") == [("0", "3")]
    assert pairs(made, "test") == [("0", "4"), ("1", "1"), ("1", "4")]
    assert (description.rank, description.split, description.seed) == ("user", "its own", None)
    clicked = load(tmp_path, "set").clicked_by_all
    assert {*zip(clicked.users.tolist(), clicked.items.tolist(), strict=True)} >= {(1, 1), (1, 2), (1, 3), (1, 4)}
    unread = "user_list.txt" if kind == "lists" else "'new\\nline', s.inter, s.item"
    assert told == ["candidates: all items, each user ranked once", f"not read: {unread}"]


def test_without_a_valid_file_dev_comes_from_train(tmp_path: Path) -> None:
    """A user's last train click by time, without times a drawn one."""
    train, test = [("u", i, 10 - i) for i in range(6)] + [("v", 1, 3)], [("u", 7, 1)]
    made, description, _ = converted({"s.train.inter": atomic(train), "s.test.inter": atomic(test)}, tmp_path)
    assert made["dev"] == [("u", "0", 10)]
    assert made["test"] == [("u", "7", 1)]
    assert len(made["train"]) == 6
    assert (description.times, description.rank) == (True, "user")
    made = [
        converted({"train.txt": "0 1 2 3\n", "test.txt": "0 4\n"}, tmp_path, seed=seed)[0]["dev"] for seed in range(20)
    ]
    assert {rows[0][1] for rows in made} == {"1", "2", "3"}
    _, description, _ = converted({"train.txt": "0 1 2\n", "test.txt": "0 4\n"}, tmp_path, neg_items=None, seed=3)
    assert "drawn with seed 3" in description.split


def test_many_unread_files_are_counted(tmp_path: Path) -> None:
    files = {"a.inter": atomic([("a", i, i) for i in range(3)])} | {f"x{n:02}": "" for n in range(12)}
    assert converted(files, tmp_path)[2][-1] == f"not read: {', '.join(f'x{n:02}' for n in range(10))} and 2 more"


# ---- times of sets without times ----


def test_made_up_times_put_train_before_test(tmp_path: Path) -> None:
    """The lists' order within a split, over several lines of a user too, and every split after the one before."""
    files = {
        "train.txt": "0 9 3 7\n1 5 30 4\n0 1 8 2 6\n",
        "valid.txt": "1 9\n0 20 10\n",
        "test.txt": "0 12\n1 2 1\n0 11 13\n",
    }
    made, description, _ = converted(files, tmp_path)
    assert not description.times
    ordered = {user: [] for user in "01"}
    for split in SPLITS:
        for user, item, _ in sorted(made[split], key=lambda row: row[2]):
            ordered[user].append(int(item))
    assert ordered == {"0": [9, 3, 7, 1, 8, 2, 6, 20, 10, 12, 11, 13], "1": [5, 30, 4, 9, 2, 1]}
    times = {split: [time for *_, time in made[split]] for split in SPLITS}
    assert max(times["train"]) < min(times["dev"]) <= max(times["dev"]) < min(times["test"])


def test_histories_of_test_rows_are_whole(tmp_path: Path) -> None:
    """What a sequential model sees of a user before the first test click: all of train and dev."""
    rng = np.random.default_rng(0)
    clicks = [rng.permutation(50)[: rng.integers(6, 40)] for _ in range(30)]
    lists = [
        "".join(f"{user} {' '.join(map(str, part))}\n" for user, part in enumerate(parts))
        for parts in ([c[:-3] for c in clicks], [c[-3:] for c in clicks])
    ]
    made, _, _ = converted({"train.txt": lists[0], "test.txt": lists[1]}, tmp_path)
    for user, items in enumerate(clicks):
        first = min(time for who, _, time in made["test"] if who == str(user))
        before = {
            int(i) for split in ("train", "dev") for who, i, time in made[split] if who == str(user) and time < first
        }
        assert before == {*items[:-3].tolist()}


def test_times_in_some_files_only_do_not_count(tmp_path: Path) -> None:
    files = {
        "s.train.inter": atomic([("a", 1, 50), ("a", 2, 40), ("a", 3, 60)]),
        "s.valid.inter": atomic([("a", 4, 1)]),
        "s.test.inter": atomic([("a", 5)], "user_id:token item_id:token"),
    }
    made, description, _ = converted(files, tmp_path)
    assert not description.times
    assert [time for split in SPLITS for *_, time in made[split]] == [0, 1, 2, 3, 4]


def test_times_beyond_whole_float64_keep_their_order(tmp_path: Path) -> None:
    made, _, _ = converted({"a.inter": atomic([("a", "x", "4e18"), ("a", "y", "3e18"), ("a", "z", "-2")])}, tmp_path)
    assert [made[split][0][1] for split in SPLITS] == ["z", "y", "x"]
    assert made["test"][0][2] == 4e18


# ---- what stands in the files ----


def test_quotes_are_characters(tmp_path: Path) -> None:
    rows = [('"', "x", 1, 'a "film'), ('"', '"y"', 2, '"'), ('"', "z'", 3, ""), ("NA", '"', 4, '"a\tb"'[:2])]
    header = "user_id:token item_id:token timestamp:float title:token_seq"
    made, _, _ = converted({"a.inter": atomic(rows, header)}, tmp_path)
    assert {row for split in SPLITS for row in made[split]} == {row[:3] for row in rows}


def test_unused_columns_may_hold_anything(tmp_path: Path) -> None:
    header = "note:token_seq user_id:token note:token_seq item_id:token rating:float timestamp:float last:token"
    lines = [
        b"\tNA\t\xe9t\xe9\tnull\tbad\t3\tx",
        b'"\tNA\tx\tnan\t\t2',
        b"\xff\tNA\t1e999\tNone\t-\t1\t",
    ]
    text = "\t".join(header.split()).encode() + b"\r\n" + b"\r\n\r\n".join(lines)
    made, _, _ = converted({"a.inter": b"\xef\xbb\xbf" + text}, tmp_path)
    assert made == {"train": [("NA", "None", 1)], "dev": [("NA", "nan", 2)], "test": [("NA", "null", 3)]}


def test_byte_order_marks_in_lists(tmp_path: Path) -> None:
    files = {"train.txt": "\ufeff3 1 2\n", "valid.txt": "\ufeff3 4\n", "test.txt": "\ufeff3 5\n"}
    made, _, _ = converted(files, tmp_path)
    assert [pairs(made, split) for split in SPLITS] == [[("3", "1"), ("3", "2")], [("3", "4")], [("3", "5")]]


def test_ratings(tmp_path: Path) -> None:
    """The earliest rating that is a click counts, not the earliest of all."""
    rows = [("a", "x", 1, 1), ("a", "y", 2, 4), ("a", "z", 3, 5), ("a", "x", 4, 4.5), ("a", "w", 5, 3.9)]
    header = "user_id:token item_id:token timestamp:float rating:float"
    made, description, _ = converted({"a.inter": atomic(rows, header)}, tmp_path, min_rating=4)
    assert made == {"train": [("a", "y", 2)], "dev": [("a", "z", 3)], "test": [("a", "x", 4)]}
    assert description.dropped_duplicates == 0


TABLES = {
    "user item rating time": "1 1193 5 978300760\n1 661 3 978302109\n2 1193 4 978300275\n",
    "without repeated users": "1 1193 5 978300760\n2 661 3 978302109\n",
    "milliseconds, tabs": "1\t20\t1\t978300760000\n1\t21\t0\t978300761000\n",
    "user item time": "1 20 978300760\n2 30 978300761\n",
    "user item rating": "1 20 5\n1 21 3\n2 20 0\n",
    "user item rating and a place in time": "1 20 5 1\n1 21 3 2\n2 20 10 3\n",
}
LISTS = {
    "pairs": "1 20\n1 21\n1 22\n2 20\n",
    "two items each": "1 20 5\n2 21 3\n3 20 1\n",
    "three items each, small ids": "1 2 5 1\n1 3 4 7\n2 2 6 3\n",
    "three items, large ids": "1 20 5 100\n1 21 30 2\n2 20 10 99999999\n",
    "no constant number": "1 20 5 978300760\n1 21 3 978300761\n2 20 4\n",
}


@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_a_table_is_no_list(tmp_path: Path, text: str, name: str) -> None:
    files = {"train.txt": "0 1 2 3\n1 7\n", "valid.txt": "0 4\n", "test.txt": "0 5\n"} | {f"{name}.txt": text}
    with pytest.raises(UserError, match=rf"{name}\.txt seems to have a click a line, .* make it a \.inter file: tabs"):
        converted(files, tmp_path)


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)
def test_lists_of_one_length_are_lists(tmp_path: Path, text: str) -> None:
    made, _, _ = converted({"train.txt": text, "valid.txt": "1 2\n", "test.txt": "1 3\n"}, tmp_path)
    lines = [line.split() for line in text.splitlines()]
    assert pairs(made, "train") == sorted((line[0], item) for line in lines for item in line[1:])


# ---- messages ----

HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"
ROWS = "alice\tx\t1\nalice\ty\t2\nalice\tz\t3\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.inter": HEADER + "alice\tx\t1\nbob\ty\t2\n"}, "no user has three items, as leave-one-out needs"),
        ({"a.inter": HEADER}, r"a\.inter is empty below its first line"),
        ({"a.inter": HEADER + "alice\t\t1\n"}, r"a\.inter line 2: item_id is missing"),
        (
            {"a.inter": HEADER + ROWS + "\n\nalice\tw\tsoon\n"},
            r"a\.inter line 7: timestamp is 'soon', expected a number",
        ),
        ({"a.inter": HEADER + ROWS + "alice\tw\tinf\n"}, r"a\.inter line 5: timestamp is 'inf', expected a number"),
        ({"a.inter": HEADER + ROWS + "alice\tw\n"}, r"a\.inter line 5: timestamp is missing, expected a number"),
        ({"a.inter": HEADER + ROWS + "alice\tw\t1\t2\n"}, r"a\.inter is malformed: Expected 3 fields in line 5, saw 4"),
        ({"a.inter": (HEADER + ROWS).encode() + b"\xe9\tx\t1"}, r"a\.inter line 5: user_id is not UTF-8 text"),
        ({"a.inter": HEADER.encode("utf-16")}, r"a\.inter line 1: a zero byte; expected UTF-8 text"),
        (
            {"a.inter": "user,item\n1,2\n"},
            r"a\.inter has no column 'user_id', but 'user,item'; its first line",
        ),
        ({"a.inter": "user_id:token\tuser_id:token\titem_id:token\n"}, r"a\.inter has two columns 'user_id', but"),
        ({"a.train.inter": HEADER + ROWS}, r"source has a\.train\.inter, but no a\.test\.inter"),
        ({"train.txt": "0 1 2\n"}, r"source has train\.txt, but no test\.txt"),
        ({"a.inter": HEADER, "b.inter": HEADER}, r"source: 2 \.inter files and no train\.txt"),
        ({"a.train.inter": HEADER, "b.train.inter": HEADER}, r"source: 2 \.inter files and no train\.txt"),
        ({"train.txt": "0 1\n1 2\n", "test.txt": "0 3\n"}, r"train\.txt: no user has two items, .* give a valid file"),
        ({"train.txt": "0 1 2\n", "test.txt": "0\n1\n"}, r"test\.txt has users, but no item"),
        ({"train.txt": '0 1 "2"\n', "test.txt": "0 3\n"}, r"train\.txt line 1: expected whole numbers"),
    ],
)
def test_mistakes(tmp_path: Path, files: dict[str, str | bytes], expected: str) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        converted(files, tmp_path)
    assert "download" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_too_few_items_for_negatives(tmp_path: Path) -> None:
    """By the source's own ids, and what to do."""
    rows = [("bob", f"b{i}", i) for i in range(99)] + [("alice", f"a{i}", i) for i in range(3)]
    with pytest.raises(UserError) as caught:
        converted({"a.inter": atomic(rows)}, tmp_path, neg_items=None)
    assert str(caught.value) == (
        "user 'bob' has clicked 99 of 102 items, too many for 99 unclicked ones; --neg_items 0 ranks all items instead"
    )
    made, description, told = converted({"a.inter": atomic(rows)}, tmp_path, neg_items=False)
    assert len(made["test"]) == 2
    assert (description.rank, told) == ("row", ["candidates: all items, each row ranked once"])


def test_given_splits_with_negatives_are_ranked_by_row(tmp_path: Path) -> None:
    files = {"train.txt": f"0 1 2\n1 {' '.join(map(str, range(120)))}\n", "test.txt": "0 3 4\n"}
    with pytest.raises(UserError, match="user 1 has clicked 120 of 120 items"):
        converted(files | {"valid.txt": "1 5\n"}, tmp_path, neg_items=True)
    _, description, told = converted(files | {"valid.txt": "0 5\n"}, tmp_path, neg_items=True, seed=2)
    assert (description.rank, description.seed, told) == ("row", 2, ["candidates: 99 neg_items a row"])
