"""Original downloads split as one likes: every format, made by hand, against the rows that it should give; ANS's
splits against literal rules."""

from __future__ import annotations

import gzip
import json
import math
import random
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ans_fast.data import load
from ans_fast.data.command import main
from ans_fast.data.ids import read_ids
from ans_fast.data.prepare.rules import k_core
from ans_fast.data.prepare.splits import split_rows
from ans_fast.errors import UserError

SPLITS = ("train", "dev", "test")
DAY = 86_400
APRIL = 1_396_310_400  # 2014-04-01
Click = tuple[str, str, float]


def prepared(folder: Path, arguments: str) -> dict[str, set[Click]]:
    """The clicks of the command's splits, by their own ids."""
    assert main(["prepare", *arguments.split(), "--out", str(folder), "--name", "made"]) == 0
    data, (users, items) = load(folder, "made"), read_ids(folder / "made")
    return {
        split: {
            (str(users[user]), str(items[item]), time)
            for user, item, time in zip(part.users, part.items, part.times, strict=True)
        }
        for split, part in zip(SPLITS, (data.train, data.dev, data.test), strict=True)
    }


# ---- the formats ----

CLICKS = [("u1", "a", APRIL), ("u1", "b", APRIL + 1), ("u1", "c", APRIL + 2), ("u2", "a", APRIL + 3)]
NUMBERED = [(user[1:], str("abc".index(item) + 7), time) for user, item, time in CLICKS]


def reviews(names: tuple[str, str, str, str], when=int) -> str:
    """With a repeated click, one rated 1 and fields that nobody asks for."""
    rows = [*((*click, 5.0) for click in CLICKS), ("u1", "a", APRIL + 9, 4), ("u2", "b", APRIL + 4, 1)]
    objects = (dict(zip(names, (u, i, when(t), r), strict=True)) for u, i, t, r in rows)
    return "\n\n".join(json.dumps({**made, "text": 'a "b"\n\u2028', "image": None}) for made in objects)


def gowalla(clicks: list[Click] = NUMBERED) -> str:
    times = (pd.Timestamp(time, unit="s").strftime("%Y-%m-%dT%H:%M:%SZ") for *_, time in clicks)
    return "".join(f"{u}\t{t}\t30.2\t-97.7\t{i}\n" for (u, i, _), t in zip(clicks, times, strict=True))


AMAZON = ("reviewerID", "asin", "unixReviewTime", "overall")
YELP = ("user_id", "business_id", "date", "stars")
CSV = [*((u, i, r, t) for (u, i, t), r in zip(CLICKS, ("5.0", "4", "4.5", "5"), strict=True)), ("u2", "b", "1", APRIL)]
TAGGED = "userID\tartistID\ttagID\ttimestamp\n" + "".join(f"{u}\t{i}\t{i}1\t{t * 1000}\n" for u, i, t in NUMBERED)
FORMATS = {  # by file: what is prepared of it, what stands in it, how ids are written
    "reviews_Baby_5.json": ("Baby", reviews(AMAZON), CLICKS),
    "Baby.json": ("Baby", reviews(AMAZON), CLICKS),
    "ratings_Baby.csv": ("Baby", "".join(f"{u},{i},{r},{t}\r\n" for u, i, r, t in CSV), CLICKS),
    "Baby.csv": ("Baby", "".join(f"{i},{u},{r},{t}\n" for u, i, r, t in CSV), CLICKS),
    "yelp_academic_dataset_review.json": (
        "Yelp", reviews(YELP, lambda t: str(pd.Timestamp(t, unit="s"))), CLICKS,
    ),
    "loc-gowalla_totalCheckins.txt": ("Gowalla", gowalla(), NUMBERED),
    "user_taggedartists-timestamps.dat": ("LastFM", TAGGED, NUMBERED),
    "ratings.dat": ("ML_1M", "".join(f"{u}::{i}::4::{t}\n" for u, i, t in NUMBERED) + "2::8::1::5\n", NUMBERED),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("file", FORMATS)
def test_formats(tmp_path: Path, file: str, packed: bool) -> None:
    name, text, clicks = FORMATS[file]
    data = b"\xef\xbb\xbf" + text.encode()
    path = tmp_path / (file + ".gz" * packed)
    path.write_bytes(gzip.compress(data) if packed else data)
    rated = "" if name in ("Gowalla", "LastFM") else "--min_rating 4"
    for raw in (tmp_path, path):
        made = prepared(tmp_path / "out", f"{name} --raw {raw} --split leave_one_out --neg_items 0 {rated}")
        assert made == {"train": {clicks[0], clicks[3]}, "dev": {clicks[1]}, "test": {clicks[2]}}


def test_without_a_least_rating_all_reviews_are_clicks(tmp_path: Path) -> None:
    (tmp_path / "ratings_Baby.csv").write_text(FORMATS["ratings_Baby.csv"][1])
    made = prepared(tmp_path, f"Baby --raw {tmp_path} --split leave_one_out --neg_items 0")
    assert ("u2", "b", APRIL) in made["train"] | made["dev"] | made["test"]


def test_tags_of_lastfm(tmp_path: Path) -> None:
    (tmp_path / "user_taggedartists-timestamps.dat").write_text(TAGGED)
    made = prepared(tmp_path, f"LastFM_tags --raw {tmp_path} --split leave_one_out --neg_items 0")
    assert made["test"] == {("1", "91", APRIL + 2)}


# ---- splits ----

BABY = [  # before and from April on
    ("old", "x", APRIL - 9 * DAY), ("old", "y", APRIL - 1),
    ("both", "x", APRIL - 5 * DAY), ("both", "z", APRIL - 4 * DAY), ("both", "w", APRIL), ("both", "y", APRIL + DAY),
    ("too", "w", APRIL - 2 * DAY), ("too", "x", APRIL + 2 * DAY), ("too", "only now", APRIL + 3 * DAY),
    ("new", "x", APRIL + DAY), ("new", "z", APRIL + 2 * DAY),
]  # fmt: skip


def test_a_split_by_date_by_hand(tmp_path: Path) -> None:
    """`old` never comes back, `new` was not there, y was clicked by `old` alone: none of these can be learned from."""
    clicks = [*BABY, *(("many", f"m{n}", APRIL - n - 1) for n in range(8)), ("many", "x", APRIL)]
    lines = (json.dumps(dict(zip(AMAZON, click, strict=False))) for click in clicks)
    (tmp_path / "reviews_Baby_5.json").write_text("\n".join(lines))
    made = prepared(tmp_path, f"Baby --raw {tmp_path} --split date --test_from 2014-04-01")
    assert made["test"] == {("both", "w", APRIL), ("too", "x", APRIL + 2 * DAY), ("many", "x", APRIL)}
    early = {click for click in clicks if click[2] < APRIL and click[0] != "old"}
    assert made["train"] | made["dev"] == early
    assert len(made["dev"]) == len(early) // 10 == 1
    data = load(tmp_path, "made")
    assert (data.description.rank, data.test.neg_items) == ("user", None)
    assert data.description.split == (
        "by date: from 2014-04-01T00:00:00Z on for test, 10% of what came before, drawn with seed 0, for dev"
    )


def literal_date(rows: list[Click], first: float) -> tuple[list[Click], list[Click]]:
    """Train with dev, and test."""
    back = {user for user, _, time in rows if time >= first}
    early = [row for row in rows if row[2] < first and row[0] in back]
    users, items = {user for user, *_ in early}, {item for _, item, _ in early}
    return early, [row for row in rows if row[2] >= first and row[0] in users and row[1] in items]


PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), unique=True, min_size=1, max_size=40)


@settings(deadline=None, max_examples=60)
@given(PAIRS, st.randoms(use_true_random=False), st.integers(0, 9))
def test_any_split_by_date(pairs: list[tuple[int, int]], draw: random.Random, first: int) -> None:
    rows = [(user, item, draw.randrange(10)) for user, item in pairs]
    early, late = literal_date(rows, first)
    frame = pd.DataFrame(rows, columns=["user", "item", "time"])
    if int(len(early) * 0.25) == 0 or not late:
        with pytest.raises(UserError, match=f"the table: too few clicks come before {first}, or from then on"):
            split_rows(frame, "date", 3, dev=0.25, test_from=first)
        return
    parts, _ = split_rows(frame, "date", 3, dev=0.25, test_from=first)
    train, dev, test = ([*part.itertuples(index=False, name=None)] for part in parts)
    assert sorted(train + dev) == sorted(early)
    assert (len(dev), sorted(test)) == (int(len(early) * 0.25), sorted(late))
    again, _ = split_rows(frame[::-1], "date", 3, dev=0.25, test_from=first)
    assert [*again[1].itertuples(index=False, name=None)] == dev


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 70), min_size=1, max_size=6),
    st.sampled_from(["0.1", "0.29", "0.3", "0.35"]),
    st.integers(0, 9),
)
def test_any_split_by_ratio(sizes: list[int], share: str, seed: int) -> None:
    """Shares are rounded down, exactly, in whatever order the rows come."""
    pairs = [(user, item) for user, size in enumerate(sizes) for item in range(size)]
    frame = pd.DataFrame(pairs, columns=["user", "item"])
    held = [math.floor(Fraction(share) * size) for size in sizes]
    if not any(held):
        with pytest.raises(UserError, match="no user has clicks enough"):
            split_rows(frame, "ratio", seed, dev=float(share), test=float(share))
        return
    forth, back = (split_rows(rows, "ratio", seed, float(share), float(share))[0] for rows in (frame, frame[::-1]))
    made, again = ([{*part.itertuples(index=False, name=None)} for part in parts] for parts in (forth, back))
    assert made == again
    assert set().union(*made) == {*pairs}
    counts = [Counter(user for user, _ in part) for part in made]
    for user, size in enumerate(sizes):
        assert [count[user] for count in counts] == [size - 2 * held[user], held[user], held[user]]


@settings(deadline=None, max_examples=60)
@given(PAIRS, st.integers(1, 4))
def test_any_k_core(pairs: list[tuple[int, int]], k: int) -> None:
    left = list(pairs)
    while True:
        users, items = Counter(user for user, _ in left), Counter(item for _, item in left)
        kept = [(user, item) for user, item in left if users[user] >= k and items[item] >= k]
        if kept == left:
            break
        left = kept
    frame = pd.DataFrame(pairs, columns=["user", "item"])
    if not left:
        with pytest.raises(UserError, match=f"the {k}-core is empty"):
            k_core(frame, k)
        return
    assert [*k_core(frame, k).itertuples(index=False, name=None)] == left


def test_gowalla_as_the_paper_has_it(tmp_path: Path) -> None:
    """Of the 10-core, where each user has ten or more: 80, 10 and 10 % of them, drawn."""
    clicks = [(str(u), str(i), APRIL + u * 100 + i) for u in range(12) for i in range(10 + u % 11)]
    clicks += [("99", str(i), APRIL) for i in range(9)] + [("0", "77", APRIL)]
    text = gowalla([*clicks, *clicks])
    (tmp_path / "loc-gowalla_totalCheckins.txt").write_text(text)
    made = prepared(tmp_path, f"Gowalla --raw {tmp_path} --k_core 10 --split ratio")
    core = {click for click in clicks if int(click[1]) < 10 + 1 and click[0] != "99"}  # item 11 has nine users
    assert set().union(*made.values()) == core
    sizes = {split: Counter(user for user, *_ in made[split]) for split in SPLITS}
    for user, size in Counter(user for user, *_ in core).items():
        assert [sizes[split][user] for split in SPLITS] == [size - 2 * (size // 10), size // 10, size // 10]
    description = load(tmp_path, "made").description
    assert description.source == "Gowalla's check-ins (loc-gowalla_totalCheckins.txt), 10-core"
    assert description.dropped_duplicates == len(clicks)
    other = prepared(tmp_path, f"Gowalla --raw {tmp_path} --k_core 10 --split ratio --seed 1")
    assert other["test"] != made["test"]


# ---- mistakes ----

MANGLED = {
    ("Gowalla", "loc-gowalla_totalCheckins.txt"): [
        ("0\t2010-10-19T23:55:27Z\t30\t-97\n", "line 1: expected 5 or more tab-separated columns, got 4"),
        (gowalla() + "1\tsoon\t30\t-97\t5\n", "line 5: time is 'soon', expected a number or a date"),
        (gowalla() + "\n1\t\t30\t-97\t5\n", "line 6: time is missing, expected a number or a date"),
        (gowalla() + "1\t2010-10-19T23:55:27Z\t30\t-97\n", "line 5: item is missing"),
        (gowalla() + "1\t2010-10-19T23:55:27Z\t30\t-97\t5\t6\n", "is malformed: Expected 5 fields in line 5, saw 6"),
        (" \n", "is empty"),
        (gowalla().replace("\t", "\0"), "line 1: a zero byte; expected UTF-8 text"),
        (gowalla(), "--min_rating needs ratings, which Gowalla's check-ins do not have"),
    ],
    ("Yelp", "yelp_academic_dataset_review.json"): [
        ('{"user_id": "a", "business_id": "b", "date": "x"}', "line 1: stars is None, expected a number"),
        ('{"user_id": 7}', "line 1: user_id is 7, expected text"),
        ('\n{"user_id": "a", "business_id": "b", "date": "x", "stars": 5}', "line 2: date is 'x', expected a"),
        ('{"user_id": "a", "business_id": "b", "date": "2018-01-01", "stars": NaN}', "line 1: stars is missing, exp"),
        (f'{{"user_id": "a", "business_id": "b", "date": "2018-01-01", "stars": {10**400}}}', "line 1: stars is 1000"),
        ('{"user_id": "a", "business_id": "b", "date": "2018-01-01", "stars": true}', "line 1: stars is True, exp"),
        ("user_id,business_id\n", "line 1: expected one object a line, as JSON"),
        ("", "review.json is empty"),
    ],
    ("Baby", "ratings_Baby.csv"): [
        ("u,i,5.0\n", "line 1: expected 4 or more comma-separated columns, got 3"),
        ("userId,productId,rating,timestamp\n", "line 1: time is 'timestamp', expected a number or a date"),
        ("u,i,five,1\n", "line 1: rating is 'five', expected a number"),
        (",i,5,1\n", "line 1: user is missing"),
        ("u,i,5,1e300\n", "line 1: time is '1e300', expected a number"),
        ("u,i,1,1\n", "ratings_Baby.csv has no row with a rating of at least 4"),
    ],
    ("LastFM", "user_taggedartists-timestamps.dat"): [
        ("1\t2\t3\t4\n", "has no column 'userID', but the columns '1, 2, 3, 4'"),
        (TAGGED + "1\t2\t3\tx\n", "line 6: timestamp is 'x', expected a number"),
    ],
    ("ML_1M", "ratings.dat"): [("1,2,3,4\n", "line 1: expected UserID::MovieID::Rating::Timestamp")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "file", "text", "expected"), [(*key, *case) for key, cases in MANGLED.items() for case in cases]
)
def test_mangled_originals(tmp_path: Path, name: str, file: str, text: str, expected: str, capsys) -> None:
    """One line, and nothing is written."""
    (tmp_path / file).write_bytes(text.encode())
    rated = "--min_rating 4" if name in ("Yelp", "Baby") or "min_rating" in expected else ""
    status = main(f"prepare {name} --raw {tmp_path} --split leave_one_out --out {tmp_path}/out {rated}".split())
    out, error = capsys.readouterr()
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert re.search(re.escape(expected), error), error
    assert [path.name for path in tmp_path.iterdir()] == [file]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("Gowalla --split ratio", "has none of loc-gowalla_totalCheckins.txt, nor a .gz of it"),
        ("Toys --split ratio", "has none of reviews_Toys_5.json, Toys_5.json, reviews_Toys.json, Toys.json, ratings_T"),
        ("Gowalla", "ReChorus has no published rule for Gowalla; choose a --split, leave_one_out, ratio, time, date"),
        (
            "MIND --split ratio",
            "MIND is split by ReChorus's published rule; --split is for Gowalla, LastFM, LastFM_tags,",
        ),
        ("Baby --k_core 5", "--test_from, --min_rating, --k_core and --neg_items go with a --split"),
        ("Baby --split date", "test_from, the time of the first test click, goes with a split by date"),
        ("Baby --split ratio --test_from 2014-04-01", "goes with a split by date, and only with one"),
        ("Baby --split date --test_from April", "--test_from: expected a date such as 2014-04-01, or a number, got"),
        ("Baby --split date --test_from 1999-01-01", "reviews_Baby_5.json: too few clicks come before 1999-01-01T"),
        ("Baby --split date --test_from 2030-01-01", "reviews_Baby_5.json: too few clicks come before 2030-01-01T"),
        ("Baby --split ratio --k_core 9", "no user and item has 9 clicks, so the 9-core is empty"),
        ("Baby --split ratio --k_core 0", "--k_core: expected an integer from 1"),
        ("Baby --split leave_one_out", "too many for 99 unclicked ones; --neg_items 0 ranks all items instead"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: str, expected: str, capsys) -> None:
    (tmp_path / "reviews_Baby_5.json").write_text(reviews(AMAZON))
    assert main(f"prepare {arguments} --raw {tmp_path} --out {tmp_path}/out".split()) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert expected in error
    assert [path.name for path in tmp_path.iterdir()] == ["reviews_Baby_5.json"]
