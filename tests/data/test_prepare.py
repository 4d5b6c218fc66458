"""Original downloads: real sets taken apart and prepared again, and small made files against literal rules."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ans_fast.data import load
from ans_fast.data.description import Description
from ans_fast.data.prepare.amazon import prepare_amazon
from ans_fast.data.prepare.mind import prepare_ctr as prepare_mind
from ans_fast.data.prepare.mind import prepare_topk as prepare_mind_topk
from ans_fast.data.prepare.movielens import prepare_ctr, prepare_topk
from ans_fast.data.prepare.rules import draw_negatives, k_core, leave_one_out
from ans_fast.data.prepare.write import write_set
from ans_fast.errors import UserError
from tests.conftest import real_data

SPLITS = ("train", "dev", "test")


def read(folder: Path) -> dict[str, pd.DataFrame]:
    return {split: pd.read_csv(folder / f"{split}.csv", sep="\t") for split in SPLITS}


def test_grocery_again(tmp_path: Path) -> None:
    """Grocery's rows as reviews: the same split comes out. Rows of one user and second keep their order."""
    published = read(real_data("Grocery_and_Gourmet_Food"))
    rows = pd.concat(published.values()).sort_values(["time", "user_id"], kind="stable")
    with gzip.open(tmp_path / "reviews_Grocery_and_Gourmet_Food_5.json.gz", "wt") as file:
        for user, item, time in zip(rows.user_id, rows.item_id, rows.time, strict=True):
            file.write(json.dumps({"reviewerID": f"A{user:05}", "asin": f"B{item:05}", "unixReviewTime": time}) + "\n")
    prepare_amazon("Grocery_and_Gourmet_Food", tmp_path, tmp_path / "out", seed=0)
    again = read(tmp_path / "out")
    for split in SPLITS:
        for column in ("user_id", "item_id", "time"):
            assert published[split][column].tolist() == again[split][column].tolist(), (split, column)
    data = load(tmp_path, "out")
    pairs = data.clicked_by_all.users * data.n_items + data.clicked_by_all.items
    assert data.test.neg_items.shape == (14681, 99)
    assert not np.isin(data.test.users[:, None] * data.n_items + data.test.neg_items, pairs).any()


def test_ml_1m_ctr_again(tmp_path: Path) -> None:
    """ML_1MCTR's rows as ratings: the same splits and impressions come out (made by days of UTC)."""
    published = read(real_data("ML_1MCTR"))
    rows = pd.concat(published.values())
    stars = np.where(rows.label == 1, 4, 3)
    lines = zip(rows.user_id, rows.item_id, stars, rows.time.astype(int), strict=True)
    (tmp_path / "ratings.dat").write_text("".join(f"{u}::{i}::{r}::{t}\n" for u, i, r, t in lines))
    prepare_ctr(tmp_path, tmp_path / "out", utc_offset=0)
    again = read(tmp_path / "out")
    users = {int(old): new for old, new in json.loads((tmp_path / "out/user2newid.json").read_text()).items()}
    for split in SPLITS:
        assert published[split].user_id.map(users).tolist() == again[split].user_id.tolist()
        for column in ("item_id", "time", "label", "impression_id"):
            assert published[split][column].tolist() == again[split][column].tolist(), (split, column)


def test_ml_1m_topk_again(tmp_path: Path) -> None:
    """ML_1MTOPK's days and hours are those of UTC+8; its dev and test come out again."""
    published = read(real_data("ML_1MTOPK"))
    rows = pd.concat(published.values())
    lines = zip(rows.user_id, rows.item_id, rows.time.astype(int), strict=True)
    (tmp_path / "ratings.dat").write_text("".join(f"{u}::{i}::5::{t}\n" for u, i, t in lines))
    prepare_topk(tmp_path, tmp_path / "out", seed=0, utc_offset=8)
    again = read(tmp_path / "out")
    for split in ("dev", "test"):
        for column in ("time", "c_hour_c", "c_weekday_c", "c_period_c", "c_day_f"):
            assert published[split][column].tolist() == again[split][column].tolist(), (split, column)
    assert load(tmp_path, "out").dev.neg_items.shape == (2562, 99)


@pytest.mark.filterwarnings("error")
def test_movies(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = [(u, i) for u in range(1, 31) for i in rng.permutation(np.arange(1, 201))[:120]]
    days = rng.integers(0, 100, len(pairs))
    lines = [
        f"{u}::{i}::{rng.integers(1, 6)}::{978300000 + 86400 * d}\n" for (u, i), d in zip(pairs, days, strict=True)
    ]
    (tmp_path / "ratings.dat").write_text("".join(lines))
    (tmp_path / "movies.dat").write_bytes(
        "".join(f"{i}::Café {i}::Drama|War\n" for i in range(1, 300)).encode("latin-1")
    )
    prepare_ctr(tmp_path, tmp_path / "out", utc_offset=8)
    data = load(tmp_path, "out", "Impression", impression_key="impression_id")
    assert set(data.item_meta.columns) == {"i_genre_c", "i_title_c"}
    assert len(data.item_meta) == data.n_items - 1
    (tmp_path / "ratings.dat").write_text("1::2::3::4\n1,2,3\n")
    with pytest.raises(UserError, match="line 2: expected UserID::MovieID::Rating::Timestamp, got b'1,2,3'"):
        prepare_ctr(tmp_path, tmp_path / "out", utc_offset=8)
    floats = ("-1e18::2::3::4", "1::1e3::3::4", "1::2::3.0::4", "1::1e400::3::4")
    for line in ('"1"::2::3::4', *floats, "1::99999999999999999999::3::4", f"{'1' * 5000}::2::3::4"):
        (tmp_path / "ratings.dat").write_text(f"1::2::3::4\n{line}\n")
        with pytest.raises(UserError, match="line 2: expected UserID::MovieID::Rating::Timestamp, got b'"):
            prepare_ctr(tmp_path, tmp_path / "out", utc_offset=8)
    (tmp_path / "ratings.dat").unlink()
    with pytest.raises(UserError, match=r"ratings.dat is missing"):
        prepare_ctr(tmp_path, tmp_path / "out", utc_offset=8)


def mind_lines(seed: int, days: range) -> list[tuple[str, str, list[str]]]:
    rng = np.random.default_rng(seed)
    return [
        (
            f"U{rng.integers(1, 15)}",
            f"11/{9 + rng.choice(days)}/2019 {rng.integers(1, 13)}:{rng.integers(60):02}:00 {rng.choice(['AM', 'PM'])}",
            [f"N{rng.integers(1, 30)}-{rng.integers(2)}" for _ in range(rng.integers(1, 9))],
        )
        for _ in range(150)
    ]


def literal_core(rows: list[tuple]) -> list[tuple]:
    """Rows (user, item, label, …) left when those of users and items with under 5 clicks go, until none is left."""
    while True:
        users, items = Counter(r[0] for r in rows if r[2]), Counter(r[1] for r in rows if r[2])
        kept = [r for r in rows if users[r[0]] >= 5 and items[r[1]] >= 5]
        if len(kept) == len(rows):
            return rows
        rows = kept


def test_mind(tmp_path: Path) -> None:
    lines = {"train": mind_lines(0, range(6)), "dev": mind_lines(1, range(6, 7))}
    for split, part in lines.items():
        (tmp_path / split).mkdir()
        text = "".join(f"{n}\t{u}\t{t}\tN1 N2\t{' '.join(shown)}\n" for n, (u, t, shown) in enumerate(part, 1))
        (tmp_path / split / "behaviors.tsv").write_text(text)
        news = "".join(f'N{n}\tsport\tball{n % 3}\ttitle "x\ttext\tu\t[]\t[]\n' for n in range(1, 30))
        (tmp_path / split / "news.tsv").write_text(news)
    prepare_mind(tmp_path, tmp_path / "MIND")
    made = read(tmp_path / "MIND")

    rows = [
        (user, cell.split("-")[0], int(cell.split("-")[1]), pd.Timestamp(time).timestamp(), split)
        for split, part in lines.items()
        for user, time, shown in part
        for cell in shown
    ]
    rows = literal_core(rows)
    users = {u: n for n, u in enumerate(sorted({r[0] for r in rows}), 1)}
    items = {i: n for n, i in enumerate(sorted({r[1] for r in rows}), 1)}
    train = sorted([(users[u], t, n, items[i], y) for n, (u, i, y, t, s) in enumerate(rows) if s == "train"])
    assert [(u, t, i, y) for u, t, _, i, y in train] == list(
        zip(made["train"].user_id, made["train"].time, made["train"].item_id, made["train"].label, strict=True)
    )
    later = Counter((users[u], items[i], t, y) for u, i, y, t, s in rows if s == "dev")
    got = pd.concat([made["dev"], made["test"]])
    assert later == Counter(zip(got.user_id, got.item_id, got.time, got.label, strict=True))
    assert made["dev"].time.max() <= made["test"].time.min()
    assert load(tmp_path, "MIND", "Impression", impression_key="impression_id").item_meta.shape[1] == 2

    with pytest.raises(
        UserError, match=r"user 'U\d+' has clicked \d+ of \d+ items, too many for 99 .* is this the whole download\?"
    ):
        prepare_mind_topk(tmp_path, tmp_path / "MINDTOPK", seed=0)
    assert not (tmp_path / "MINDTOPK").exists()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1\tU1\t11/9/2019 9:00:00 AM\tN1\tN2 N3\n", "line 1: malformed impressions"),
        ("1\tU1\t2019-11-09\tN1\tN2-0\n", "line 1: malformed time"),
        ("1\tU1\tN1\n", "expected 5 or more tab-separated columns"),
    ],
)
def test_mistakes_in_mind(tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / "behaviors.tsv").write_text(line)
    with pytest.raises(UserError, match=expected):
        prepare_mind(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_amazon_meta(tmp_path: Path) -> None:
    """Categories and relations of the 2014 meta file, which holds Python literals."""
    reviews = [(f"A{u}", f"B{i:03}", u + i) for u in range(9) for i in range(120) if (u + i) % 6 == 0]
    text = [json.dumps(dict(zip(("reviewerID", "asin", "unixReviewTime"), row, strict=True))) for row in reviews]
    (tmp_path / "Toys_5.json").write_text("\n".join(text))
    meta = [
        {"asin": "B001", "categories": [["Toys", "Games", "Chess"]], "related": {"also_bought": ["B003", "X", "B002"]}},
        {"asin": "B002", "categories": [["Toys"]], "related": {"also_viewed": ["B001"], "buy_after": ["B009"]}},
        {"asin": "B000"},
        {"asin": "X", "categories": [["Toys", "Games", "Go"]]},
    ]
    (tmp_path / "meta_Toys.json").write_text("\n".join(map(repr, meta)))
    prepare_amazon("Toys", tmp_path, tmp_path / "out", seed=0)
    data = load(tmp_path, "out")
    assert data.item_meta["i_category"].to_dict() == {1: 0, 2: 1, 3: 0}
    bought, viewed = (data.item_relations[name] for name in ("r_complement", "r_substitute"))
    assert bought.items.tolist() == [4, 3]
    assert viewed.items.tolist() == [2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{'reviewerID': 1}\n", "line 1: reviewerID is 1, expected text"),
        ("{'reviewerID': x}\n", "line 1: expected one object a line, as JSON"),
        ("[1]\n", "line 1: expected one object a line, as JSON"),
        ('{"reviewerID": "A", "asin": "B"}\n', "line 1: unixReviewTime is None, expected a whole number"),
        ("", "Toys_5.json is empty"),
    ],
)
def test_mistakes_in_reviews(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "Toys_5.json").write_text(text)
    with pytest.raises(UserError, match=expected):
        prepare_amazon("Toys", tmp_path, tmp_path / "out", seed=0)


def test_cut_download(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"reviewerID": "A", "asin": "B", "unixReviewTime": 1}\n' * 1000)
    for data, expected in ((whole[:60], "not a whole one"), (b"hello", "is no gzip file")):
        (tmp_path / "Toys_5.json.gz").write_bytes(data)
        with pytest.raises(UserError, match=expected):
            prepare_amazon("Toys", tmp_path, tmp_path / "out", seed=0)


def test_negatives_are_uniform_over_unclicked_items() -> None:
    clicks = np.array([[1, 2], [1, 5], [1, 5], [3, 1], [3, 2], [3, 103]])
    users = np.tile([1, 2, 3], 400)
    drawn = draw_negatives(users, clicks, 103, np.random.default_rng(0), ["ann", "bob", "cem"], "")
    for user in (1, 2, 3):
        counts = np.bincount(drawn[users == user].ravel(), minlength=104)
        clicked = {0, *clicks[clicks[:, 0] == user, 1].tolist()}
        assert {*np.flatnonzero(counts == 0).tolist()} == clicked
        mean = 400 * 99 / (104 - len(clicked))
        assert abs(counts[counts > 0] - mean).max() < 6 * mean**0.5
    assert (np.diff(np.sort(drawn, axis=1), axis=1) > 0).all()
    with pytest.raises(UserError, match="user 'cem' has clicked 3 of 101 items, too many for 99 unclicked ones; stop"):
        draw_negatives(users, np.minimum(clicks, 101), 101, np.random.default_rng(0), ["ann", "bob", "cem"], "stop")


def test_leave_one_out_keeps_the_first_row() -> None:
    rows = pd.DataFrame({"user": [1, 2, 1, 3, 2, 1, 1], "item": [1, 2, 3, 4, 5, 6, 7]})
    train, dev, test = leave_one_out(rows)
    assert [part["item"].tolist() for part in (train, dev, test)] == [[1, 2, 3, 4], [6], [5, 7]]


def test_byte_order_marks(tmp_path: Path) -> None:
    """Every download may begin with one: the first row is read as without it."""
    mark = "\ufeff"
    reviews = [(f"A{u}", f"B{i:03}", u + i) for u in range(9) for i in range(120) if (u + i) % 6 == 0]
    text = [json.dumps(dict(zip(("reviewerID", "asin", "unixReviewTime"), row, strict=True))) for row in reviews]
    (tmp_path / "Toys_5.json").write_text(mark + "\n".join(text))
    (tmp_path / "meta_Toys.json").write_text(mark + json.dumps({"asin": "B001", "categories": [["a", "b", "c"]]}))
    prepare_amazon("Toys", tmp_path, tmp_path / "toys", seed=0)
    assert load(tmp_path, "toys").item_meta["i_category"].to_dict() == {2: 1}

    pairs = [(u, i, 1 + 86_400 * ((37 * u + i) % 100)) for u in range(9) for i in range(220) if (u + i) % 9]
    (tmp_path / "ratings.dat").write_text(mark + "".join(f"{u}::{i}::5::{t}\n" for u, i, t in pairs))
    (tmp_path / "movies.dat").write_text(mark + "0::Film::Drama\n")
    prepare_ctr(tmp_path, tmp_path / "films", utc_offset=0)
    films = load(tmp_path, "films", "CTR")
    assert (films.n_users - 1, len(films.item_meta)) == (9, 1)


def test_empty_core() -> None:
    with pytest.raises(UserError, match="5-core is empty"):
        k_core(pd.DataFrame({"user": [1], "item": [1], "label": [1]}))


def test_a_set_is_replaced_whole(tmp_path: Path) -> None:
    """Nothing of an older set survives: not its item_meta.csv, not its caches."""
    frame = pd.DataFrame({"user": [1, 1, 2], "item": [5, 6, 5], "time": [1, 2, 3]})
    meta = pd.DataFrame({"item": [5, 6], "i_kind": [1, 2]})
    write_set(tmp_path / "set", (frame, frame, frame), Description(), item_meta=meta)
    (tmp_path / "set/.ans_fast-TopK-1-0.npz").touch()
    assert load(tmp_path, "set").item_meta is not None
    write_set(tmp_path / "set", (frame[:2], frame, frame), Description())
    data = load(tmp_path, "set")
    assert data.item_meta is None
    assert len(data.train) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert not [*(tmp_path / "set").glob(".*")]


def test_what_is_no_set_is_not_replaced(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": [1], "item": [5], "time": [1]})
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds notes\.txt, which is no file of a data set"):
        write_set(tmp_path, (frame, frame, frame), Description())
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_amazon_of_2018(tmp_path: Path) -> None:
    """Real JSON in both files: one category path, also_buy and also_view, and what Python's literals do not know. Words
    that pandas takes for missing are ids."""
    users = ["NA", "null", "None", "nan", "n/a", "A5", "A6", "A7", "A8"]
    items = [f"B{item:03}" for item in range(125)] + users[:5]
    with gzip.open(tmp_path / "Toys_5.json.gz", "wt") as file:
        for user, item in ((u, i) for u in range(9) for i in range(130) if (u + i) % 6 == 0):
            row = {"overall": 5.0, "verified": True, "vote": None, "reviewerID": users[user], "asin": items[item]}
            file.write(json.dumps(row | {"unixReviewTime": 1_500_000_000 + user + item, "image": None}) + "\n")
    meta = [
        {"asin": "B001", "category": ["Toys", "Games", "Chess", "x"], "also_buy": ["B003", "X", "B002", "B003"]},
        {"asin": "B002", "category": [], "also_buy": [], "also_view": ["B001"], "price": None, "fit": True},
        {"asin": "B003", "category": None, "also_view": None},
        {"asin": "B000"},
        {"asin": "B001", "category": ["said", "a second", "time"]},
        {"asin": None},
    ]
    (tmp_path / "meta_Toys.json").write_text("\n".join(map(json.dumps, meta)))
    prepare_amazon("Toys", tmp_path, tmp_path / "out", seed=0)
    data = load(tmp_path, "out")
    assert (data.n_users, data.n_items) == (1 + 9, 1 + 130)
    assert data.item_meta["i_category"].to_dict() == {1: 0, 2: 1, 3: 0, 4: 0}
    bought, viewed = (data.item_relations[name] for name in ("r_complement", "r_substitute"))
    assert bought.items.tolist() == [4, 3]
    assert viewed.items.tolist() == [2]
    assert data.description.source == "Amazon reviews, Toys"


@pytest.mark.parametrize(
    "record",
    [
        {"category": "Toys"},
        {"category": [["Toys"]]},
        {"categories": {"a": 1}},
        {"categories": [3]},
        {"related": ["B000"]},
        {"related": {"also_bought": "B000"}},
        {"also_buy": "B000"},
        {"also_view": [1]},
    ],
    ids=str,
)
def test_malformed_amazon_meta(tmp_path: Path, record: dict) -> None:
    review = {"reviewerID": "A", "asin": "B000", "unixReviewTime": 1}
    (tmp_path / "Toys_5.json").write_text(json.dumps(review))
    (tmp_path / "meta_Toys.json").write_text(json.dumps({"asin": "B000", **record}))
    with pytest.raises(UserError, match=r"meta_Toys\.json line 1: categories or related items of B000 are malformed"):
        prepare_amazon("Toys", tmp_path, tmp_path / "out", seed=0)


def write_reviews(folder: Path, clicks: list[tuple[str, str, int]]) -> None:
    """clicks, and 98 other items that others reviewed once."""
    clicks = [*clicks, *((f"other {i}", f"X{i:02}", 0) for i in range(98))]
    lines = [json.dumps({"reviewerID": user, "asin": item, "unixReviewTime": time}) for user, item, time in clicks]
    (folder / "Toys_5.json").write_text("\n".join(lines))


def test_amazon_needs_items_for_negatives(tmp_path: Path) -> None:
    """Never an item twice among the 99, though few are left: all of them."""
    ann = [("Ann", f"A{i}", i) for i in range(4)]
    write_reviews(tmp_path, [*ann, ("Bob", "B0", 1)])
    prepare_amazon("Toys", tmp_path, tmp_path / "out", seed=0)
    for split in ("dev", "test"):
        (cell,) = read(tmp_path / "out")[split].neg_items
        assert sorted(json.loads(cell)) == [*range(5, 104)]
    write_reviews(tmp_path, ann)
    with pytest.raises(UserError, match=r"user 'Ann' has clicked 4 of 102 items, .*; is this the whole download\?"):
        prepare_amazon("Toys", tmp_path, tmp_path / "out", seed=0)


def test_repeated_reviews_are_counted(tmp_path: Path) -> None:
    """The same user, item and second is one click, as published; the same item at another time is another."""
    write_reviews(tmp_path, [("Ann", "A0", 1), ("Ann", "A1", 2), ("Ann", "A0", 1), ("Ann", "A0", 3), ("Bob", "B0", 1)])
    prepare_amazon("Toys", tmp_path, tmp_path / "out", seed=0)
    assert load(tmp_path, "out").description.dropped_duplicates == 1
    assert [read(tmp_path / "out")[split].item_id.tolist() for split in ("dev", "test")] == [[2], [1]]
