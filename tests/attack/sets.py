"""Small data sets that attacks spoil, and the flags of a short run on them."""

from __future__ import annotations

import random
from pathlib import Path

N_USERS, N_ITEMS, N_CLICKS = 14, 24, 8
SHORT = "--epoch 2 --batch_size 32 --emb_size 4 --topk 3,5 --eval_batch_size 8".split()
SPLITS = ("train", "dev", "test")


def clicks(seed: int = 0) -> list[tuple[int, int, int]]:
    """(user, item, time) from 1 on, in time's order: every user clicks N_CLICKS items, mostly its half's."""
    rng = random.Random(seed)
    rows = []
    for user in range(1, N_USERS + 1):
        near = [item for item in range(1, N_ITEMS + 1) if item % 2 == user % 2]
        items = rng.sample(near, N_CLICKS - 2) + rng.sample([i for i in range(1, N_ITEMS + 1) if i not in near], 2)
        rows += [(user, item, 1000 + rng.randrange(10**6)) for item in items]
    return sorted(rows, key=lambda row: (row[2], row))


def split(rows: list[tuple[int, int, int]]) -> dict[str, list[tuple[int, int, int]]]:
    """Each user's last click is test, the one before it dev."""
    parts: dict[str, list[tuple[int, int, int]]] = {name: [] for name in SPLITS}
    for user in range(1, N_USERS + 1):
        own = [row for row in rows if row[0] == user]
        parts["train"] += own[:-2]
        parts["dev"].append(own[-2])
        parts["test"].append(own[-1])
    return parts


def write_topk(folder: Path, negatives: bool = True) -> None:
    """train.csv, dev.csv and test.csv, with neg_items or without."""
    rows = clicks()
    unclicked = {u: [i for i in range(1, N_ITEMS + 1) if all(r[:2] != (u, i) for r in rows)] for u, _, _ in rows}
    folder.mkdir(parents=True)
    for name, part in split(rows).items():
        extra = negatives and name != "train"
        lines = ["user_id\titem_id\ttime" + "\tneg_items" * extra]
        lines += ["\t".join(map(str, row)) + f"\t{unclicked[row[0]][:9]}" * extra for row in part]
        (folder / f"{name}.csv").write_text("\n".join([*lines, ""]))
    meta = [f"{item}\t{item % 3}\t[{item % N_ITEMS + 1}]" for item in range(1, N_ITEMS + 1)]
    (folder / "item_meta.csv").write_text("\n".join(["item_id\ti_category\tr_complement", *meta, ""]))


def write_labelled(folder: Path) -> None:
    """train.csv, dev.csv and test.csv of shown items with labels, four a user and time."""
    rng = random.Random(1)
    folder.mkdir(parents=True)
    for name, n_times in zip(SPLITS, (8, 3, 3), strict=True):
        lines = ["user_id\titem_id\ttime\tlabel"]
        for user in range(1, N_USERS + 1):
            for time in range(n_times):
                for at, item in enumerate(rng.sample(range(1, N_ITEMS + 1), 4)):
                    lines.append(f"{user}\t{item}\t{time}\t{int(at == 0 or rng.random() < 0.2)}")
        (folder / f"{name}.csv").write_text("\n".join([*lines, ""]))


def write_recbole(folder: Path, splits: bool) -> None:
    """RecBole's atomic files: one, or three that are a split; ids are words."""
    folder.mkdir(parents=True)
    parts = {folder.name: clicks()}
    if splits:
        parts = {f"{folder.name}.{'valid' if n == 'dev' else n}": part for n, part in split(clicks()).items()}
    for name, part in parts.items():
        lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
        lines += [f"user{u}\titem{i}\t{u % 5 + 1}\t{t}" for u, i, t in part]
        (folder / f"{name}.inter").write_text("\n".join([*lines, ""]))


def write_adjacency(folder: Path) -> None:
    """LightGCN's train.txt and test.txt."""
    folder.mkdir(parents=True)
    parts = split(clicks())
    for name, part in {"train": parts["train"] + parts["dev"], "test": parts["test"]}.items():
        lines = [" ".join(map(str, [u - 1, *(i - 1 for v, i, _ in part if v == u)])) for u in range(1, N_USERS + 1)]
        (folder / f"{name}.txt").write_text("\n".join([*lines, ""]))


def write_amazon(folder: Path) -> None:
    """Reviews and meta of 2014: JSON lines, and Python literals. The users have 120 items that they did not review."""
    folder.mkdir(parents=True)
    rows = [(u, 12 * (u % 11) + i, 86400 * (u + i)) for u in range(20) for i in range(6)]
    reviews = [f'{{"reviewerID": "A{u}", "asin": "B{i:03}", "unixReviewTime": {t}}}' for u, i, t in rows]
    reviews += [f'{{"reviewerID": "Z{i % 7}", "asin": "B{i:03}", "unixReviewTime": {i}}}' for i in range(160)]
    (folder / "Toys_5.json").write_text("\n".join([*reviews, ""]))
    meta = [
        f"{{'asin': 'B{i:03}', 'categories': [['Toys', 'Games', 'c{i % 4}']], 'related': {{'also_bought': ['B000']}}}}"
        for i in range(160)
    ]
    (folder / "meta_Toys.json").write_text("\n".join([*meta, ""]))


def write_movielens(folder: Path) -> None:
    """ratings.dat over a hundred days, and movies.dat."""
    folder.mkdir(parents=True)
    rng = random.Random(2)
    start = 978300000
    lines = [
        f"{user}::{item}::{rng.randint(1, 5)}::{start + 86400 * rng.randrange(100)}\n"
        for user in range(1, 9)
        for item in range(1, 25)
    ]
    (folder / "ratings.dat").write_text("".join(lines))
    (folder / "movies.dat").write_text("".join(f"{i}::Title {i}::Drama|War\n" for i in range(1, 25)))
