"""Packages that only some uses need."""

from __future__ import annotations

import importlib
from types import ModuleType

from ans_fast.errors import UserError


def optional(module: str, what: str, install: str = "") -> ModuleType:
    """The module. Raises UserError, which says that `what` needs it, where it is not installed.

    install: what pip is to be given, where it is not the module's first name.
    """
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(f"{what} needs {package}: pip install {install or package}") from None
