"""Damage to files of tensors: bytes flipped or cut, entries renamed, tensors of another kind, foreign pickles."""

from __future__ import annotations

import io
import os
import pickle
import random
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ans_fast.tensor_files import save_tensors

MARK = "EXECUTED"  # the file that a payload writes, in the working directory


class Payload:
    """Writes MARK when it is unpickled."""

    def __init__(self, how: str):
        self.how = how

    def __reduce__(self) -> tuple:
        if self.how == "os.system":
            return os.system, (f"touch {MARK}",)
        if self.how == "eval":
            return eval, (f"open({MARK!r}, 'w')",)
        if self.how == "exec":
            return exec, (f"open({MARK!r}, 'w')",)
        return open, (MARK, "w")


PAYLOADS = ("os.system", "eval", "exec", "open")


class Damage(NamedTuple):
    """One change of a file; places are shares of what is there."""

    kind: str
    where: float
    what: Any

    def apply(self, path: Path) -> None:
        """Damages the file, if it is still one of its kind."""
        _KINDS[self.kind](path, self.where, self.what)


def draw(rng: random.Random, of_content: dict[str, tuple]) -> Damage:
    """One damage; `of_content` are further kinds, with what each may be given."""
    kind = rng.choice(["flip", "flip", "flip", "cut", "zero", "insert", "entry", "drop", "swap", "rename", "flag"])
    kind = rng.choice([kind, kind, "payload", *of_content])
    what: Any = rng.random()
    if kind == "payload":
        what = (rng.choice(["pickle", "torch", "legacy", "zip entry", "tar", "npz"]), rng.choice(PAYLOADS))
    elif kind in of_content:
        what = (rng.random(), rng.choice(of_content[kind]))
    return Damage(kind, rng.random(), what)


def _bytes(change: Callable[[bytes, int, float], bytes]) -> Callable:
    def apply(path: Path, where: float, what: float) -> None:
        data = path.read_bytes()
        path.write_bytes(change(data, min(int(where * len(data)), max(len(data) - 1, 0)), what))

    return apply


def _flip(data: bytes, at: int, what: float) -> bytes:
    return data[:at] + bytes([b ^ 1 << int(what * 8) for b in data[at : at + 1]]) + data[at + 1 :]


def _zero(data: bytes, at: int, what: float) -> bytes:
    end = min(at + int(what * 300), len(data))
    return data[:at] + bytes(end - at) + data[end:]


def _entries(change: Callable[[list[tuple[zipfile.ZipInfo, bytes]], int, int], None]) -> Callable:
    """A kind that changes the list of an archive's entries and writes it with right CRCs."""

    def apply(path: Path, where: float, what: float) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                entries = [(info, archive.read(info)) for info in archive.infolist()]
        except Exception:
            return
        if entries:
            change(entries, int(where * len(entries)), int(what * len(entries)))
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
            warnings.simplefilter("ignore")  # of names that come twice
            for info, data in entries:
                archive.writestr(info, data)

    return apply


def _swap(entries: list, at: int, other: int) -> None:
    entries[at], entries[other] = (entries[at][0], entries[other][1]), (entries[other][0], entries[at][1])


def _cut_entry(entries: list, at: int, other: int) -> None:
    entries[at] = (entries[at][0], entries[at][1][: len(entries[at][1]) // 2])


def _rename(entries: list, at: int, other: int) -> None:
    entries[at][0].filename = entries[at][0].filename.replace("/", "\\") + "x"


def _flag(entries: list, at: int, other: int) -> None:
    entries[at][0].compress_type = zipfile.ZIP_DEFLATED


def _payload(path: Path, where: float, what: tuple[str, str]) -> None:
    form, how = what
    payload, buffer = Payload(how), io.BytesIO()
    if form == "pickle":
        buffer.write(pickle.dumps({"weights": payload}))
    elif form == "npz":
        np.savez(buffer, sizes=np.array([payload], object), **{"train.users": np.array([payload], object)})
    elif form == "tar":
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            data = pickle.dumps(payload)
            for name in ("sys_info", "pickle", "storages", "tensors"):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    elif form == "zip entry":
        _entries(lambda entries, at, other: entries.insert(0, (entries[0][0], pickle.dumps(payload))))(path, 0, 0)
        return
    else:
        torch.save({"weights": payload}, buffer, _use_new_zipfile_serialization=form == "torch")
    path.write_bytes(buffer.getvalue())


_KINDS: dict[str, Callable] = {
    "flip": _bytes(_flip),
    "cut": _bytes(lambda data, at, what: data[:at]),
    "zero": _bytes(_zero),
    "insert": _bytes(lambda data, at, what: data[:at] + b"\x80" * int(1 + what * 64) + data[at:]),
    "entry": _entries(_cut_entry),
    "drop": _entries(lambda entries, at, other: entries.pop(at)),
    "swap": _entries(_swap),
    "rename": _entries(_rename),
    "flag": _entries(_flag),
    "payload": _payload,
}  # fmt: skip


def _leaves(content: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all values in nested dicts and lists."""
    if isinstance(content, dict):
        inner = content.items()
    elif isinstance(content, list | tuple):
        inner = enumerate(content)
    else:
        return [path]
    return [path, *(leaf for key, value in inner for leaf in _leaves(value, (*path, key)))]


TENSOR_CHANGES = (
    "nan", "inf", "shorter", "longer", "flat", "double", "half", "int", "complex", "sparse", "meta", "view",
)  # fmt: skip
VALUE_CHANGES = ("missing", None, "text", -1, 10**30, float("nan"), [], {}, [[]], b"bytes", torch.zeros(3), 1.5)


def _change_tensor(tensor: torch.Tensor, how: str) -> torch.Tensor:
    if how in ("nan", "inf"):
        if not tensor.is_floating_point() or not tensor.numel():
            return tensor.double() * float(how)
        tensor = tensor.clone()
        tensor.view(-1)[tensor.numel() // 2] = float(how)
        return tensor
    if how in ("shorter", "longer", "flat"):
        flat = tensor.reshape(-1)
        if how == "flat":
            return flat[:, None, None]
        return flat[:-1] if how == "shorter" else torch.cat([tensor.reshape(-1)] * 3)
    if how == "view":
        return tensor.reshape(-1)[:1].expand(1 << 20)
    if how == "sparse":
        return tensor.to_sparse() if tensor.dim() else tensor.reshape(1).to_sparse()
    if how == "meta":
        return tensor.to("meta")
    kinds = {"double": torch.float64, "half": torch.float16, "int": torch.int32, "complex": torch.complex64}
    return tensor.to(kinds[how])


def _may_be_absent(leaf: tuple) -> bool:
    """Whether the place is an optimizer's state of one parameter: those without gradients have none."""
    return leaf[0] == "optimizer" and len(leaf) == 2


def _content(path: Path, where: float, what: tuple[float, Any], change: Callable) -> None:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        return
    leaves = [leaf for leaf in _leaves(content) if leaf and not _may_be_absent(leaf)]
    if not isinstance(content, dict) or not leaves:
        return
    *outer, last = leaves[int(where * len(leaves))]
    holder = content
    for key in outer:
        holder = holder[key]
    change(holder, last, what[1])
    save_tensors(path, content)  # with a right seal, so that what it holds is looked at


def _tensor(holder: Any, key: Any, how: str) -> None:
    if isinstance(holder, dict | list) and isinstance(holder[key], torch.Tensor):
        holder[key] = _change_tensor(holder[key], how)


def _value(holder: Any, key: Any, value: Any) -> None:
    if isinstance(value, str) and value == "missing":
        if isinstance(holder, dict | list):
            del holder[key]
    elif isinstance(holder, dict | list):
        holder[key] = value


_KINDS["tensor"] = lambda path, where, what: _content(path, where, what, _tensor)
_KINDS["value"] = lambda path, where, what: _content(path, where, what, _value)
