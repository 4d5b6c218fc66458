"""Tensors on disk: written at once or not at all, read without running code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from ans_fast.errors import UserError
from ans_fast.files import atomic_file


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """torch.save of tensors, numbers, strings, lists and dicts, as `atomic_file` writes. Raises UserError."""
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        torch.save(content, file)


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
