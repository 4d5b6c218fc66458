"""Tensors on disk: written at once or not at all, read without running code."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ans_fast.errors import UserError


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file by way of a temporary one beside it: a reader or a crash sees the old bytes or the new ones."""
    _replace(path, lambda file: file.write(data))


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """torch.save of tensors, numbers, strings, lists and dicts, atomically and through to the disk."""
    _replace(path, lambda file: torch.save(content, file))


def load_tensors(path: Path) -> dict[str, Any]:
    """What `save_tensors` wrote, on the CPU. Raises UserError: no such file, truncated, or of another kind."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, OSError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is damaged or was not written by ans_fast ({reason[:120]}); delete it") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} was not written by ans_fast: it holds a {type(content).__name__}; delete it")
    return content


def _replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")  # one name: what a killed run left is overwritten, not piled up
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
