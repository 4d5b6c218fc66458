"""Options and the choices that they belong to: each that is taken changes what is learned, or ranked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ans_fast import models
from ans_fast.errors import UserError
from ans_fast.runner.arguments import parse
from tests.conftest import random_graph

OTHER = {  # a value that is no default
    "emb_size": 12, "n_layers": 2, "base_model": "BPRMF", "precision": "bf16", "num_neg": 3, "gamma": 0.7, "eps": 3.0,
    "noise_scale": 5.0, "gate": 0, "predict_with": "ego", "reg_weight": 0.3, "require_pow": 1, "temperature": 0.3,
    "positive_temperature": 0.3, "n_shared": 5, "n_own": 5, "logq": 1, "ranking": "product", "first_item": 9,
    "init_std": 0.3, "negative_sampling": "popularity", "n_candidates": 3, "dens_gamma": 2.0, "dens_warmup": 1,
    "slk_k": 3, "slk_temperature": 0.3, "slk_every": 3, "uniformity": 3.0,
}  # fmt: skip
SOFTMAX = {"temperature", "n_shared", "n_own", "logq"}
HARD = {"n_candidates", "dens_gamma", "dens_warmup"}
SLK = {"slk_k", "slk_temperature", "slk_every"}
BATCH_ITEMS = {"num_neg", "negative_sampling", "first_item"}  # nothing to draw: first_item bars the ranking alone
CASES = [  # model, choice, options that it leaves without effect
    ("LightGCN", {}, {*SOFTMAX, *HARD, *SLK, "positive_temperature", "uniformity", "ranking"}),
    ("LightGCN", {"negative_sampling": "DNS"}, {*SOFTMAX, *SLK, "dens_gamma", "dens_warmup", "positive_temperature",
                                                "uniformity", "ranking"}),
    ("LightGCN", {"negative_sampling": "DENS"}, {*SOFTMAX, *SLK, "positive_temperature", "uniformity", "ranking"}),
    ("LightGCN", {"loss_n": "SSM"}, {*BATCH_ITEMS, *HARD, *SLK, "positive_temperature", "uniformity"}),
    ("BPRMF", {"loss_n": "BSL", "n_own": 4}, {*HARD, *SLK, "num_neg", "n_shared", "uniformity"}),
    ("BPRMF", {"loss_n": "SL@K", "slk_every": 1}, {*HARD, "num_neg", "negative_sampling", "positive_temperature",
                                                  "uniformity"}),
    ("BPRMF", {"loss_n": "DirectAU"}, {*BATCH_ITEMS, *SOFTMAX, *HARD, *SLK, "positive_temperature"}),
    ("ANS", {"noise_scale": 4.0}, {*SOFTMAX, "positive_temperature", "ranking"}),
    ("ANS", {"noise_scale": 4.0, "loss_n": "BSL", "n_shared": 4}, {"n_own"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def graph():
    return random_graph(30, 40, 200)


def learned(graph, name, options):
    """The losses of two epochs, and what ranks after them."""
    torch.manual_seed(0)
    model = models.by_name(name)(graph, **options)
    torch.manual_seed(1)
    losses = model.fit(epochs=2, batch_size=128, lr=0.01)
    return losses, model.predict(np.arange(30), np.arange(30)).tolist()


@pytest.mark.parametrize(("name", "choice", "idle"), CASES, ids=[f"{name} {choice}" for name, choice, _ in CASES])
def test_an_option_has_an_effect_or_is_refused(graph, name, choice, idle):
    choice = {"emb_size": 8, "reg_weight": 0.1, **choice}
    usual, without, declared = learned(graph, name, choice), set(), models.by_name(name).options()
    for option in declared.keys() - {"loss_n", *choice} | {"reg_weight"}:
        try:
            changed = learned(graph, name, {**choice, option: OTHER[option]})
        except UserError as error:
            told = str(error)
            assert f"{option} of {name} has no effect with" in told or "exclude each other" in told or "meaning" in told
            changed = usual
        if changed == usual:
            without.add(option)
    assert without == idle


def test_other_modes_have_the_losses_of_their_lists(graph):
    for name in ("LightGCN", "ANS"):
        for mode in ("Impression", "CTR"):
            for option in SOFTMAX | {"ranking", "positive_temperature"}:
                with pytest.raises(UserError, match=f"{option} of {name} has no effect with loss_n B"):
                    models.by_name(name)(graph, mode=mode, **{option: OTHER[option]})


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("LightGCN --temperature 0.2", "temperature of LightGCN has no effect with loss_n BPR, only with SSM, BSL"),
        ("BPRMF --n_candidates 8", "n_candidates of BPRMF has no effect with negative_sampling uniform, only with D"),
        ("LightGCN --gamma 0.1", "--gamma needs --negative_sampling ANS, got uniform"),
        ("BPRMF --negative_sampling DNS --gate 0", "--gate needs --negative_sampling ANS, got DNS"),
        ("LightGCN --negative_sampling ANS --init_std 0.1", "--init_std has no effect with --negative_sampling ANS"),
        ("LightGCN --loss_n SSM --n_own 3 --n_shared 4", "n_shared and n_own exclude each other, got 4 and 3"),
        ("ANS --base_model NGCF --precision bf16", "precision of ANS must be float32 with base_model NGCF, got bf16"),
        ("AutoCF --n_heads 5", "n_heads of AutoCF must divide emb_size 32, got 5"),
    ],
)
def test_flags_are_told_before_anything_is_read(flags, told):
    with pytest.raises(UserError) as error:
        parse(["--model_name", *flags.split()])
    assert str(error.value).startswith(told)


@pytest.mark.parametrize(
    ("flags", "idle", "num_neg"),
    [
        ("LightGCN --num_neg 3", (), 3),
        ("LightGCN --num_neg 3 --loss_n SSM --dropout 0.1 --buffer 0", ("num_neg", "dropout", "buffer"), 1),
        ("LightGCN --num_neg 3 --model_mode Impression --negative_sampling ANS", ("num_neg",), 2),
        ("ANS --num_neg 3 --model_mode CTR", (), 3),
        ("NeuMF --num_neg 3 --model_mode CTR --dropout 0.1", ("num_neg",), 1),
        ("AutoCF --num_neg 3", ("num_neg",), 1),
        ("BPRMF --test_all 1", (), 1),
        ("BPRMF --test_all 1 --model_mode CTR", ("test_all",), 1),
    ],
)
def test_rechorus_flags_may_be_without_effect(flags, idle, num_neg):
    """Its scripts give them to all models."""
    settings = parse(["--model_name", *flags.split()])
    assert (settings.idle, settings.model_options["num_neg"]) == (idle, num_neg)
