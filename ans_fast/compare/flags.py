"""Which flags each model runs with: those that are published, unless a file or --flags says otherwise."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from collections.abc import Mapping
from pathlib import Path

from ans_fast.errors import UserError, reason
from ans_fast.flag_types import words
from ans_fast.models import by_name

PUBLISHED = {  # by ReChorus for Grocery_and_Gourmet_Food, emb_size 64
    "ANS": "",
    "AutoCF": "--lr 1e-3 --l2 1e-7 --batch_size 4096",  # of its own code
    "BPRMF": "--lr 1e-3 --l2 1e-6",
    "FPMC": "--lr 1e-3 --l2 1e-6 --history_max 20",
    "GRU4Rec": "--hidden_size 100 --lr 1e-3 --l2 1e-4 --history_max 20",
    "LightGCN": "--n_layers 3 --lr 1e-3 --l2 1e-8",
    "NeuMF": "--layers [64] --lr 5e-4 --l2 1e-7 --dropout 0.2",
    "POP": "--train 0",
    "SLRCPlus": "--lr 5e-4 --l2 1e-5",
}


def flags_of_models(
    models: list[str], config: str, overrides: list[str], published: Mapping[str, str] = PUBLISHED
) -> dict[str, list[str]]:
    """Each model's flags. A model can stand for several lines of the table: `LightGCN`, `LightGCN+DNS`, where what
    follows the plus is a name of yours whose flags config or overrides give.

    Args:
        models: names. config: a TOML (Python 3.11 on) or JSON file of `"name" = "--flag value …"`, or "".
        overrides: `name: --flag value …`, which replace what config and `published` say.
        published: what else holds. Raises UserError.
    """
    chosen = dict(published)
    if config:
        chosen |= _read(Path(config))
    for text in overrides:
        name, colon, flags = text.partition(":")
        if not colon:
            raise UserError(f"--flags must be 'MODEL: --flag value …', got {text!r}")
        chosen[name.strip()] = flags
    for name in models:
        by_name(base_name(name))
        if "+" in name and name not in chosen:
            raise UserError(f"{name} has no flags: give --flags '{name}: --flag value …'")
    return {name: _split(name, chosen.get(name, "")) for name in models}


def base_name(name: str) -> str:
    """The model of a line of the table: "LightGCN" of "LightGCN+DNS"."""
    return name.partition("+")[0]


def _split(name: str, flags: str) -> list[str]:
    try:
        return words(flags)
    except ArgumentTypeError as error:
        raise UserError(f"flags of {name}: {error}") from None


def _read(path: Path) -> dict[str, str]:
    try:
        if path.suffix == ".toml":
            if sys.version_info < (3, 11):
                raise UserError(f"{path}: TOML needs Python 3.11; write the file as JSON")
            import tomllib

            content = tomllib.loads(path.read_text())
        else:
            content = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is neither TOML nor JSON: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(flags, str) for flags in content.values()):
        raise UserError(f"{path} must hold 'MODEL' = '--flag value …' lines")
    return content
