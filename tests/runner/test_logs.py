"""Names of a run's files: ReChorus's where it has the run, and one for each run that ends differently."""

from __future__ import annotations

from pathlib import Path

import pytest

from ans_fast.errors import UserError
from ans_fast.runner.arguments import parse
from ans_fast.runner.paths import Paths, run_name

NAMES = {
    "BPRMF": "BPRMF__demo__0__lr=0.001__l2=0__emb_size=64__batch_size=256",
    "BPRMF --num_neg 4 --dropout 0.2": "BPRMF__demo__0__lr=0.001__l2=0__emb_size=64__batch_size=256",
    "LightGCN --l2 1e-6": "LightGCN__demo__0__lr=0.001__l2=1e-06__emb_size=64__n_layers=3__batch_size=256",
    "LightGCN --model_mode Impression": "LightGCNImpression__demo__0__lr=0.001__l2=0__emb_size=64__n_layers=3"
    "__batch_size=256",
    "NeuMF --layers [64,32]": "NeuMF__demo__0__lr=0.001__l2=0__emb_size=64__layers=[64,__32]",
    "GRU4Rec --random_seed 7": "GRU4Rec__demo__7__lr=0.001__l2=0__emb_size=64__hidden_size=64",
    "SLRCPlus": "SLRCPlus__demo__0__lr=0.001__l2=0__emb_size=64",
}


@pytest.mark.parametrize("flags", NAMES)
def test_names_are_rechorus(flags):
    assert run_name(parse(["--model_name", *flags.split()])) == NAMES[flags]


@pytest.mark.parametrize(
    ("folder", "flags", "out"), [("shop", "", "."), ("src", "", ".."), ("src", "--out there", "there")]
)
def test_files_lie_in_the_working_folder(tmp_path, monkeypatch, folder, flags, out):
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    paths = Paths.of(parse(["--model_name", "POP", *flags.split()]))
    assert paths.log.parent == Path(out, "log/POP")
    assert paths.weights.parent == Path(out, "model/POP")


def test_a_path_needs_the_name_of_a_data_set(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/train.csv").touch()
    with pytest.raises(UserError, match=r"--path .* needs --dataset, a data set there: shop$"):
        parse(["--path", str(tmp_path)])
    assert parse(["--path", str(tmp_path), "--dataset", "shop"]).dataset == "shop"
    assert parse([]).dataset == "demo"


@pytest.mark.parametrize(
    ("flags", "own"),
    [
        ("BPRMF --negative_sampling DNS", "--n_candidates 8"),
        ("LightGCN --negative_sampling MixGCF", "--n_candidates 8"),
        ("LightGCN --negative_sampling DENS", "--n_candidates 8"),
        ("LightGCN --negative_sampling DENS", "--dens_gamma 0.1"),
        ("LightGCN --negative_sampling DENS", "--dens_warmup 9"),
        *(
            (f"{model} --negative_sampling ANS", flag)
            for model in ("LightGCN", "BPRMF")
            for flag in ("--gamma 0.1", "--num_neg 3", "--eps 0.2", "--predict_with ego")
        ),
        ("ANS", "--base_model NGCF"),
        ("ANS", "--noise_scale 0.2"),
        ("ANS", "--gate 0"),
        ("ANS", "--require_pow 1"),
        ("LightGCN", "--reg_weight 0.1"),
        ("BPRMF", "--init_std 0.1"),
        ("AutoCF", "--ssl_reg 0.1"),
        ("SLRCPlus", "--category_col i_category"),
    ],
)
def test_runs_that_end_differently_have_names_of_their_own(flags, own):
    plain, changed = (run_name(parse(["--model_name", *flags.split(), *more])) for more in ([], own.split()))
    assert changed != plain
    name, value = own[2:].split()
    assert f"__{name}={value}" in changed


def test_names_hold_only_what_the_choice_looks_at():
    sampling = "--model_name LightGCN --negative_sampling popularity"
    assert run_name(parse(sampling.split())).endswith("__batch_size=256__negative_sampling=popularity")


def test_the_longest_name_fits_a_file_system():
    flags = "--negative_sampling ANS --dataset Grocery_and_Gourmet_Food --batch_size 2048 --reg_weight 0.00001"
    paths = Paths.of(parse(["--model_name", "LightGCN", *flags.split(), "--eps", "0.25", "--noise_scale", "0.25"]))
    assert len(f".{paths.checkpoint.name}.1234567.tmp") < 255
