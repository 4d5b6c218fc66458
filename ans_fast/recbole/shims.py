"""What RecBole 1.2.1 takes for granted of NumPy, SciPy, pandas, torch and Ray, and later versions took away.

Each is put back where RecBole looks for it. Programs that do not import `ans_fast.recbole` see nothing of it.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import scipy.sparse
import torch


def apply() -> None:
    """Puts back what is missing. Raises ImportError without RecBole."""
    if importlib.util.find_spec("recbole") is None:
        raise ImportError(
            'ans_fast.recbole needs RecBole: in the folder of ans_fast pip install ".[recbole]", '
            "then pip install --no-deps recbole==1.2.1"
        )
    _numpy()
    _scipy()
    _ray()
    _pandas()
    _torch()


def _numpy() -> None:
    """NumPy 2.0 removed these names, which RecBole's Config reads."""
    for name, type_ in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
        if name not in vars(np):
            setattr(np, name, type_)


def _scipy() -> None:
    """SciPy 1.13 took dict's methods from dok_matrix; RecBole's graph models fill theirs by `_update`."""
    if not hasattr(scipy.sparse.dok_matrix, "_update"):
        scipy.sparse.dok_matrix._update = lambda matrix, entries: matrix._dict.update(entries)


def _ray() -> None:
    """recbole.quick_start imports ray.tune for hyperparameter search, which most runs do without."""
    if importlib.util.find_spec("ray") is None:
        sys.modules["ray"], sys.modules["ray.tune"] = ray, tune = ModuleType("ray"), ModuleType("ray.tune")
        ray.tune = tune


def _pandas() -> None:
    """From pandas 3 on a column taken from a frame is a copy, so that filling it in place changes nothing. (Columns of
    sequences, which RecBole loads for other kinds of models, need an older pandas all the same.)"""
    from recbole.data.dataset import dataset
    from recbole.utils import FeatureType

    def fill_nan(self: dataset.Dataset) -> None:
        for feat in (getattr(self, name) for name in self.feat_name_list):
            for field in feat:
                kind = self.field2type[field]
                if kind == FeatureType.TOKEN:
                    feat[field] = feat[field].fillna(0)
                elif kind == FeatureType.FLOAT:
                    feat[field] = feat[field].fillna(feat[field].mean())
                else:
                    empty = np.array([], np.int64 if kind == FeatureType.TOKEN_SEQ else np.float64)
                    feat[field] = [empty if isinstance(value, float) else value for value in feat[field]]

    dataset.Dataset._fill_nan = fill_nan


def _torch() -> None:
    """From torch 2.6 on torch.load reads tensors and plain values alone; RecBole's checkpoints hold its Config. They
    are the run's own files."""
    import recbole.quick_start
    from recbole.trainer import Trainer

    for holder, name in (
        (Trainer, "evaluate"),
        (Trainer, "resume_checkpoint"),
        (recbole.quick_start, "load_data_and_model"),
    ):
        setattr(holder, name, _loading_anything(getattr(holder, name)))


def _loading_anything(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with a torch.load that reads any object while it runs."""
    load = functools.partial(torch.load, weights_only=False)

    @functools.wraps(function)
    def wrapped(*args: Any, **options: Any) -> Any:
        with mock.patch.object(torch, "load", load):
            return function(*args, **options)

    return wrapped
