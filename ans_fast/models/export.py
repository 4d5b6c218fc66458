"""A model's vectors in files that other programs serve from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ans_fast.errors import UserError
from ans_fast.files import atomic_file
from ans_fast.models.vectors import embeddings
from ans_fast.packages import optional

if TYPE_CHECKING:
    from ans_fast.data import Ids
    from ans_fast.models.base import Recommender

TOP, ASKED, AT_ONCE = 10, 1024, 16  # whose recall is measured, for how many users, so many at once
LINKS, BUILD_WIDTH, SEARCH_WIDTH = 32, 200, 128  # of the graphs of HNSW: M, efConstruction, ef

Search = Callable[[np.ndarray, int], np.ndarray]  # vectors [n, K], k -> places int64 [n, k]; -1: none was found


class Side(NamedTuple):
    """Users or items: ids [n], int64 or text, vectors float32 [n, K], and clicks int64 [n] of each in training."""

    ids: np.ndarray
    vectors: np.ndarray
    clicks: np.ndarray

    def at(self, places: slice | np.ndarray) -> Side:
        """Some of them."""
        return Side(*(values[places] for values in self))


class Index(NamedTuple):
    """A package's index of vectors: what writes it to a file, and what reads it back."""

    write: Callable[[Path], None]
    read: Callable[[Path], Search]


def export(model: Recommender, path: str | Path, format: str | None = None, min_recall: float = 0.9) -> float:
    """Writes the vectors of users and items with their ids, for servers and programs that know no ans_fast.

    The inner product of a user's and an item's vector is the score of `recommend`; leaving out what a user has clicked
    is up to the server. Users without clicks have no learned vector and are left out: the items' clicks rank for them.

    Args:
        path: the file, which is replaced as a whole.
        format: one of the following; None: the one of path's suffix.

            - "npz" (.npz): user_ids [U], user_vectors float32 [U, K], item_ids [I], item_vectors float32 [I, K] and
              item_clicks int64 [I], for numpy.load.
            - "parquet" (.parquet): a row a user or item: kind ("user" or "item"), id, clicks, vector. Needs pyarrow.
            - "faiss" (.faiss): an index of the items by inner product, whose labels are places in the item_ids of the
              "npz" file that is written beside it with .npz added to its name. Needs faiss-cpu or faiss-gpu.
            - "hnswlib" (.hnswlib): the same for hnswlib, space "ip"; call set_ef(128) or more once it is loaded.
            - "torch" (.pt2): a program of torch.export, of users int64 [B], places in user_ids, to scores float32
              [B, I] in the order of item_ids; users without clicks, who are here too, get the items' clicks. Its extra
              file ids.json holds user_ids and item_ids.

        min_recall: an index that finds less is refused, and nothing is written.

    Returns:
        recall@10 of the index, read back, against exact search for up to 1,024 users: the mean share of the items of
        the ten largest products that it finds. 1 for the other formats, which search nothing.

    Raises:
        UserError: the model's scores are no products, the format is unknown or needs a package, min_recall is missed,
            or ids are neither text nor whole numbers.
    """
    path = Path(path)
    format = SUFFIXES.get(path.suffix) if format is None else format
    if format not in (*FILES, *INDEXES):
        told = f"format must be one of {', '.join(SUFFIXES.values())}, or path end in one of {', '.join(SUFFIXES)}"
        raise UserError(f"{told}, got {str(path) if format is None else format!r}")
    users, items = _sides(model)
    if format in FILES:
        _write(FILES[format], users, items, path)
        return 1.0
    return _write_index(INDEXES[format](items.vectors), _with_clicks(users), items, path, min_recall)


def _npz(users: Side, items: Side, file: IO[bytes]) -> None:
    users = _with_clicks(users)
    np.savez(
        file,
        user_ids=users.ids,
        user_vectors=users.vectors,
        item_ids=items.ids,
        item_vectors=items.vectors,
        item_clicks=items.clicks,
    )


def _parquet(users: Side, items: Side, file: IO[bytes]) -> None:
    arrow, parquet = (optional(name, "format parquet") for name in ("pyarrow", "pyarrow.parquet"))
    users = _with_clicks(users)
    ids, vectors, clicks = (np.concatenate(both) for both in zip(users, items, strict=True))  # one text: all ids are
    table = arrow.table(
        {
            "kind": np.repeat(["user", "item"], [len(users.ids), len(items.ids)]),
            "id": ids,
            "clicks": clicks,
            "vector": arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.reshape(-1)), vectors.shape[1]),
        }
    )
    parquet.write_table(table, file)


class _Scores(nn.Module):
    """The program of format torch."""

    def __init__(self, users: Side, items: Side):
        super().__init__()
        self.register_buffer("users", torch.from_numpy(users.vectors))
        self.register_buffer("known", torch.from_numpy(users.clicks > 0))
        self.register_buffer("items", torch.from_numpy(items.vectors))
        self.register_buffer("popularity", torch.from_numpy(items.clicks).float())

    def forward(self, users: Tensor) -> Tensor:
        scores = self.users.index_select(0, users) @ self.items.t()
        return torch.where(self.known.index_select(0, users)[:, None], scores, self.popularity)


def _torch(users: Side, items: Side, file: IO[bytes]) -> None:
    some = torch.zeros(2, dtype=torch.int64)  # one would be a program of one user
    sizes = {"users": {0: torch.export.Dim("batch")}}
    program = torch.export.export(_Scores(users, items), (some,), dynamic_shapes=sizes)
    ids = json.dumps({"user_ids": users.ids.tolist(), "item_ids": items.ids.tolist()})
    torch.export.save(program, file, extra_files={"ids.json": ids})


def _faiss(vectors: np.ndarray) -> Index:
    faiss = optional("faiss", "format faiss", "faiss-cpu")

    def write(file: Path) -> None:
        index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = BUILD_WIDTH, SEARCH_WIDTH
        index.add(vectors)
        faiss.write_index(index, str(file))

    def read(file: Path) -> Search:
        index = faiss.read_index(str(file))
        return lambda users, k: index.search(users, k)[1]

    return Index(write, read)


def _hnswlib(vectors: np.ndarray) -> Index:
    hnswlib = optional("hnswlib", "format hnswlib")
    n_items, dim = vectors.shape

    def write(file: Path) -> None:
        index = hnswlib.Index("ip", dim)
        index.init_index(n_items, M=LINKS, ef_construction=BUILD_WIDTH)
        index.add_items(vectors, np.arange(n_items))
        index.save_index(str(file))

    def read(file: Path) -> Search:
        index = hnswlib.Index("ip", dim)
        index.load_index(str(file))
        index.set_ef(SEARCH_WIDTH)
        return lambda users, k: index.knn_query(users, k)[0].astype(np.int64)

    return Index(write, read)


FILES = {"npz": _npz, "parquet": _parquet, "torch": _torch}
INDEXES = {"faiss": _faiss, "hnswlib": _hnswlib}
SUFFIXES = {".npz": "npz", ".parquet": "parquet", ".faiss": "faiss", ".hnswlib": "hnswlib", ".pt2": "torch"}


def _write(content: Callable[[Side, Side, IO[bytes]], None], users: Side, items: Side, path: Path) -> None:
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        content(users, items, file)


def _write_index(index: Index, users: Side, items: Side, path: Path, min_recall: float) -> float:
    """Writes it, and its ids beside it, once what is read back has enough recall: its recall."""
    with atomic_file(path) as temporary:
        try:
            index.write(temporary)
            recall = _recall(index.read(temporary), users.vectors, items.vectors)
        except RuntimeError as error:  # of the package: a full disk, or fewer than k found
            raise UserError(f"cannot write {path}: {str(error).splitlines()[0]}") from None
        if not recall >= min_recall:
            raise UserError(
                f"{path}: the index finds {recall:.3f} of the exact top {TOP}, less than min_recall {min_recall:g}: "
                "lower that, or search the vectors of format npz exactly"
            )
        _write(_npz, users, items, path.with_name(f"{path.name}.npz"))
    return recall


def _recall(search: Search, users: np.ndarray, items: np.ndarray) -> float:
    """The mean share of the users' TOP largest products that `search` finds; equal ones are as good as each other."""
    k, found = min(TOP, len(items)), []
    asked = users[np.linspace(0, len(users) - 1, min(ASKED, len(users))).astype(int)]
    for part in np.array_split(asked, -(-len(asked) // AT_ONCE)):
        scores, places = part @ items.T, search(part, k)
        least = np.partition(scores, -k, axis=1)[:, -k, None]
        found.append((np.take_along_axis(scores, places, 1) >= least) & (places >= 0))
    return float(np.concatenate(found).mean())


def _sides(model: Recommender) -> tuple[Side, Side]:
    """The users, and the items but padding."""
    graph, (users, items) = model.graph, embeddings(model)
    if not graph.n_edges:
        raise UserError(f"export needs users with clicks, and this {model.name} has none")
    if not (np.isfinite(users).all() and np.isfinite(items).all()):
        raise UserError(f"export needs finite vectors, and this {model.name} has others: train it with a lower lr")
    of_users, of_items = (part.numpy() for part in graph.degrees.cpu().split([graph.n_users, graph.n_items]))
    every = Side(_plain(model.item_ids, graph.n_items), items, of_items)
    return Side(_plain(model.user_ids, graph.n_users), users, of_users), every.at(slice(model.first_item, None))


def _with_clicks(users: Side) -> Side:
    return users.at(users.clicks > 0)


def _plain(ids: Ids | None, n: int) -> np.ndarray:
    return np.arange(n) if ids is None else np.asarray(ids.plain())
