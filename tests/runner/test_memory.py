"""Sizes that no machine holds are told before they are asked for."""

from __future__ import annotations

import pytest
import torch

from ans_fast.data import load
from ans_fast.errors import UserError
from ans_fast.runner import memory
from ans_fast.runner.arguments import parse

N_NODES = 61 + 51  # of the set top, with padding


@pytest.fixture
def top(work):
    return load(work / "data", "top")


@pytest.mark.parametrize(
    ("flags", "bytes_"),
    [
        ("--model_name BPRMF --emb_size 8 --batch_size 64", 4 * N_NODES * 8 * 4 + 8 * 64),
        ("--model_name BPRMF --emb_size 8 --batch_size 64 --train 0", 4 * N_NODES * 8),
        ("--model_name LightGCN --emb_size 8 --n_layers 9 --batch_size 9999", 4 * N_NODES * 8 * 4 + 8 * 600),
        ("--emb_size 8 --n_layers 9 --batch_size 64", 4 * N_NODES * 8 * (4 + 10) + 8 * 64 * 2),
        (
            "--model_name BPRMF --emb_size 8 --batch_size 64 --negative_sampling DNS --n_candidates 5 --num_neg 3",
            4 * N_NODES * 8 * 4 + 8 * 64 * 15,
        ),
        ("--model_name BPRMF --emb_size 8 --loss_n SSM --n_own 9", 4 * N_NODES * 8 * 4 + 8 * 256 * (1 + 9)),
        ("--model_name POP", 8 * 256),
    ],
)
def test_what_must_be_held(top, flags, bytes_):
    assert sum(memory.least_bytes(parse(flags.split()), top).values()) == bytes_


def test_too_large_is_told_with_its_flag(top, monkeypatch):
    args = parse("--model_name BPRMF --emb_size 4096".split())
    memory.check_memory(args, top, torch.device("cpu"))
    monkeypatch.setattr(memory, "memory_of", lambda device: 2**20)
    with pytest.raises(
        UserError, match=r"takes at least 0\.0 GiB, .* by --emb_size, and cpu has 0\.0 GiB: lower --emb"
    ):
        memory.check_memory(args, top, torch.device("cpu"))


def test_huge_draws_end_in_a_line(go):
    flags = "--path ../data --dataset top --model_name BPRMF --negative_sampling DNS --epoch 1 --batch_size 600"
    status, _, err = go(*flags.split(), "--num_neg", "65536", "--n_candidates", "65536")
    assert (status, err.count("\n")) == (2, 1)
    assert "GiB" in err
    assert "--num_neg" in err


@pytest.mark.parametrize(("text", "limited"), [("1048576\n", True), ("max\n", False), ("", False)])
def test_a_containers_limit_counts(tmp_path, monkeypatch, text, limited):
    monkeypatch.setattr(memory, "LIMIT", tmp_path / "memory.max")
    whole = memory.memory_of(torch.device("cpu"))
    (tmp_path / "memory.max").write_text(text)
    assert memory.memory_of(torch.device("cpu")) == (2**20 if limited else whole)
