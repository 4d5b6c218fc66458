"""Tensors on disk: written at once or not at all, read without running code, and refused where a bit has changed."""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ans_fast.errors import UserError, reason
from ans_fast.files import atomic_file

FORMAT = 2
_SEAL = b"ans_fast blake2b "  # and the digest
_DIGEST_BYTES = 32
_BLOCK = 1 << 20


class _Damage(ValueError):
    """Damage that a checksum shows."""


class _Sealing:
    """A file for torch.save: passes the bytes on, and keeps their digest and the error that torch would hide."""

    def __init__(self, file: BinaryIO):
        self.file, self.digest, self.error = file, hashlib.blake2b(digest_size=_DIGEST_BYTES), None

    def write(self, data: Any) -> int:
        try:
            self.file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(data)
        return len(data)

    def flush(self) -> None:
        self.file.flush()


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """torch.save of tensors, numbers, strings, lists and dicts, as `atomic_file` writes, with "format" added.

    A seal follows the archive, a digest of all before it: readers of archives skip it, `load_tensors` does not. Raises
    UserError.
    """
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        sealing = _Sealing(file)
        try:
            torch.save({**content, "format": FORMAT}, sealing)
        except RuntimeError:
            raise sealing.error or RuntimeError from None
        file.write(_SEAL + sealing.digest.digest())


def load_tensors(path: Path, mapped: bool = False) -> dict[str, Any]:
    """The content of a file by `save_tensors` or torch.save, on the CPU; `mapped`, its tensors are read where they are
    looked at, for who needs but parts of them. Raises UserError: no such file, damaged, or of another kind."""
    if not os.path.exists(path):
        raise UserError(f"{path}: no such file")
    if not os.path.isfile(path):
        raise UserError(f"{path} is no regular file, expected one of weights")
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sealed = _check_bits(file)
            mapped = mapped and zipfile.is_zipfile(file)  # older formats cannot be
            file.seek(0)
            content = torch.load(path if mapped else file, map_location="cpu", weights_only=True, mmap=mapped)
    except PermissionError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from None
    except Exception as error:  # an unpickler may raise anything when it is fed what is no pickle
        told = str(error) if isinstance(error, _Damage) else "not what torch.save writes"
        raise UserError(f"{path} is damaged or holds no weights ({told}); delete it") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no weights but a {type(content).__name__}")
    if not sealed and content.get("format") == FORMAT:
        raise UserError(f"{path} is damaged or holds no weights (its seal is missing); delete it")
    return content


def _check_bits(file: BinaryIO) -> bool:
    """Raises _Damage, naming the archive's bad entry, where the seal or a checksum does not hold; whether there is a
    seal. Leaves the file at its begin."""
    body = file.seek(0, os.SEEK_END) - len(_SEAL) - _DIGEST_BYTES
    file.seek(max(body, 0))
    seal = file.read()
    sealed = body >= 0 and seal.startswith(_SEAL)
    if not sealed or seal != _SEAL + _digest(file, body):
        file.seek(0)
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                bad = archive.testzip()
            if bad:
                raise _Damage(f"the checksum of its entry {bad} is wrong")
        if sealed:
            raise _Damage("the checksum of the whole is wrong")
    file.seek(0)
    return sealed


def _digest(file: BinaryIO, size: int) -> bytes:
    """Of the first `size` bytes, or of as many as there are left: a file may be cut short while it is read."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    file.seek(0)
    while block := file.read(min(size, _BLOCK)):
        digest.update(block)
        size -= len(block)
    return digest.digest()


def check_tensors(found: Any, expected: Mapping[Any, Tensor], path: str | Path, what: str) -> None:
    """Raises UserError, naming file and entry, unless `found` has the names of `expected`, and under each a tensor of
    its shape and dtype, all finite."""
    if not isinstance(found, dict) or found.keys() != expected.keys():
        names = ", ".join(map(str, found)) if isinstance(found, dict) else f"a {type(found).__name__}"
        wanted = ", ".join(map(str, expected)) or "nothing"
        raise UserError(f"{path}: {what} must hold {wanted}, got {names or 'nothing'}"[:400])
    check_finite(found, path, what)
    for name, like in expected.items():
        value = found[name]
        if (value.shape, value.dtype) != (like.shape, like.dtype):
            raise UserError(
                f"{path}: {what}.{name} must be {list(like.shape)} of {like.dtype}, "
                f"got {list(value.shape)} of {value.dtype}"
            )


def check_finite(found: Mapping[str, Any], path: str | Path, what: str) -> None:
    """Raises UserError, naming file and entry, unless all are dense tensors without NaN and infinities."""
    for name, value in found.items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
            raise UserError(f"{path}: {what}.{name} must be a dense tensor, got a {type(value).__name__}")
        if not value.isfinite().all():
            raise UserError(f"{path}: {what}.{name} holds NaN or infinite values")
