"""The file of each row's metrics."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ans_fast.runner.row_metrics import FILE, read_user_metrics
from tests.runner.conftest import N_USERS, TOP


def kept(work):
    folder = next((work / "log").glob("*/*/results.json")).parent
    return folder / FILE, json.loads((folder / "results.json").read_text())["results"]["test"]


@pytest.mark.parametrize("flags", ["", "--dataset all", "--dataset all --rank_by user"])
def test_means_are_the_results(go, work, flags):
    assert go("--model_name", "BPRMF", *TOP, *flags.split())[0] == 0
    path, results = kept(work)
    with np.load(path) as content:
        assert content["user_id"].tolist() == [*range(1, N_USERS + 1)]
        assert {name: content[name].mean() for name in results} == pytest.approx(results, abs=1e-6)
        assert {content[name].dtype.name for name in results} == {"float32"}


def test_lists(go, work):
    flags = "--path ../data --dataset shown --model_mode Impression --epoch 1 --topk 2 --metric HR --emb_size 8"
    assert go("--model_name", "BPRMF", *flags.split())[0] == 0
    path, results = kept(work)
    with np.load(path) as content:
        assert len(content["user_id"]) > len(np.unique(content["user_id"]))  # some have several lists
        assert content["HR@2"].mean() == pytest.approx(results["HR@2"])
    of_users = read_user_metrics(path, "HR@2")
    assert of_users.index.is_monotonic_increasing
    assert of_users.index.is_unique
    assert read_user_metrics(path, "HR@3") is None


def test_what_is_of_all_rows_together_is_not_kept(go, work):
    flags = "--path ../data --dataset shown --model_mode CTR --epoch 1 --emb_size 8"
    assert go("--model_name", "BPRMF", *flags.split())[0] == 0
    path, _ = kept(work)
    assert not path.exists()
    path.write_bytes(b"damaged")
    assert read_user_metrics(path, "AUC") is None
