"""Runs of the command line: lines, files, modes, repeatability."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ans_fast import backend, models
from ans_fast.data.command import main as convert_main

TOP = "--path ../data --dataset top --epoch 3 --batch_size 64 --topk 5,10 --emb_size 8".split()
SHOWN = "--path ../data --dataset shown --epoch 2 --batch_size 32 --emb_size 8".split()


def figures(text: str) -> list[str]:
    """Everything a run printed that its seed decides."""
    return re.findall(r"loss=\S+|dev=\(\S+\)|After Training: \S+", text)


def find_info(lines: list[str]) -> dict[str, str]:
    """Best epoch, seconds and test metrics, read the way ReChorus's exp.py reads stdout."""
    info = {}
    for line in lines:
        if line.startswith("Best Iter(dev)"):
            line = line.replace(" ", "")
            info["Best Iter"] = re.search(r"BestIter\(dev\)=(\d*)", line).group(1)
            info["Time"] = re.search(r"\[([\d.]+)s\]", line).group(1)
        elif line.startswith("Test After Training:"):
            info["Test"] = re.search(r"\(([\w@:.\d,]+)\)", line).group(1)
    return info


@pytest.mark.parametrize("model", ["ANS", "LightGCN", "BPRMF"])
def test_top_k(go, work: Path, model):
    status, out, err = go("--model_name", model, *TOP)
    assert (status, err) == (0, "")
    info = find_info(out.splitlines())
    assert re.fullmatch(r"HR@5:\d\.\d{4},NDCG@5:\d\.\d{4},HR@10:\d\.\d{4},NDCG@10:\d\.\d{4}", info["Test"])
    assert 1 <= int(info["Best Iter"]) <= 3
    epoch = r"Epoch 1     loss=\d\.\d{4} \[\d+\.\d s\]\tdev=\(HR@5:\d\.\d{4},NDCG@5:\d\.\d{4}\) \[\d+\.\d s\] \*"
    assert re.search(f"^{epoch}$", out, re.MULTILINE)

    log = next((work / "log" / model).glob("*.txt"))
    assert log.name.startswith(f"{model}__top__0__lr=0.001__l2=")
    text = log.read_text()
    assert re.search(f"^INFO:root:{epoch}$", text, re.MULTILINE)
    assert find_info(text.splitlines()) == info
    assert (work / "model" / model / f"{log.stem}.pt").exists()
    results = json.loads((log.with_suffix("") / "results.json").read_text())
    assert f"{results['results']['test']['HR@5']:.4f}" == info["Test"][5:11]
    assert len(results["epochs"]) == 3
    assert results["flags"]["emb_size"] == 8
    assert results["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("BPRMF", "10 an epoch of 64 positives, 1 negative each"),
        ("BPRMF --batch_size 37 --num_neg 16", "17 an epoch of 37 positives, 16 negatives each"),
        (
            "BPRMF --negative_sampling DNS --n_candidates 8",
            "10 an epoch of 64 positives, 1 negative each, the hardest of 8",
        ),
        ("BPRMF --negative_sampling ANS", "10 an epoch of 64 positives, 2 negatives each"),
        ("LightGCN --loss_n SSM", "10 an epoch of 64 positives, negatives are the others' items"),
        ("LightGCN --loss_n BSL --n_shared 5", "10 an epoch of 64 positives, 5 negatives for all"),
        ("LightGCN --loss_n BSL --n_own 5", "10 an epoch of 64 positives, 5 negatives each"),
        ("ANS --loss_n SSM --n_shared 5 --num_neg 4", "64 positives, 5 negatives for all and 4 augmented"),
        ("LightGCN --loss_n DirectAU", "10 an epoch of 64 positives, no negatives"),
        ("AutoCF --emb_size 8", "10 an epoch of 64 positives, contrasted with all nodes"),
        ("BPRMF --model_mode CTR --dataset shown --metric AUC --main_metric AUC --topk ''", " an epoch of 64 rows"),
        ("BPRMF --model_mode Impression --dataset shown", " an epoch of 64 lists"),
    ],
)
def test_a_step_is_told(go, flags, told):
    """Positives a step and negatives a positive: what a published batch size means differs."""
    status, out, err = go(*TOP, "--epoch", "0", "--model_name", *shlex.split(flags))
    assert (status, err) == (0, "")
    line = next(line for line in out.splitlines() if line.startswith(" batches"))
    assert line.rstrip().endswith(told)


def test_test_epoch_and_idle_flags(go):
    _, out, _ = go("--model_name", "BPRMF", *TOP, "--test_epoch", "2", "--num_workers", "4", "--buffer", "1")
    assert [" test=(" in line for line in out.splitlines() if line.startswith("Epoch")] == [True, False, True]
    assert out.count("Without effect here: --num_workers, --buffer") == 1


def test_predictions_of_top_k_hold_the_metrics(go, work: Path):
    _, out, _ = go("--model_name", "LightGCN", *TOP)
    path = next((work / "log/LightGCN").glob("*/rec-LightGCN-test.csv"))
    table = pd.read_csv(path, sep="\t", converters={"rec_items": json.loads, "rec_predictions": json.loads})
    assert list(table.columns) == ["user_id", "rec_items", "rec_predictions"]
    test = pd.read_csv(work / "data/top/test.csv", sep="\t", converters={"neg_items": json.loads})
    assert table.user_id.tolist() == test.user_id.tolist()
    hits = 0
    for row, target, negatives in zip(table.itertuples(), test.item_id, test.neg_items, strict=True):
        assert sorted(row.rec_items) == sorted([target, *negatives])
        assert row.rec_predictions == sorted(row.rec_predictions, reverse=True)
        hits += target in row.rec_items[:5]
    assert f"HR@5:{hits / len(test):.4f}" in out.split("Test After Training:")[1]


@pytest.mark.parametrize("sep", [",", " ", "["])
def test_predictions_are_read_by_a_csv_reader(go, work: Path, sep):
    go("--model_name", "BPRMF", *TOP, "--log_file", "tabs.txt")
    for path in (work / "data/top").glob("*.csv"):
        pd.read_csv(path, sep="\t").to_csv(path, sep=sep, index=False)
    assert go("--model_name", "BPRMF", *TOP, "--log_file", "other.txt", "--sep", sep)[0] == 0
    tabs = Path("tabs/rec-BPRMF-test.csv").read_text()
    assert tabs.startswith("user_id\trec_items\trec_predictions\n1\t[")
    with open("other/rec-BPRMF-test.csv", newline="") as file:
        assert list(csv.reader(file, delimiter=sep)) == [line.split("\t") for line in tabs.splitlines()]


def test_predictions_have_the_ids_of_who_converted_the_set(go, work: Path):
    """Text that CSV and JSON escape, whole numbers as they were; as many of each as the runner's numbers give."""
    frame = pd.concat(pd.read_csv(work / f"data/all/{split}.csv", sep="\t") for split in ("train", "dev", "test"))
    who = [f'Ann, "{user}"' for user in frame.user_id]
    shop = pd.DataFrame({"who": who, "what": frame.item_id * 1000, "when": frame.time})
    shop.to_csv(work / "shop.csv", index=False)
    convert = f"convert {work}/shop.csv --user who --item what --time when --neg_items 0 --out {work}/data"
    assert convert_main(convert.split()) == 0
    flags = [*TOP, "--dataset", "shop", "--log_file", "own.txt"]
    assert go("--model_name", "BPRMF", *flags)[0] == 0
    table = pd.read_csv("own/rec-BPRMF-test.csv", sep="\t", converters={"rec_items": json.loads})
    assert sorted(table.user_id) == sorted(set(shop.who))
    clicked = shop.groupby("who").what.agg(set)
    assert all(set(row.rec_items) <= set(shop.what) for row in table.itertuples())
    assert all(len(set(row.rec_items) & clicked[row.user_id]) <= 1 for row in table.itertuples())
    (work / "data/shop/item2newid.json").write_text('{"a": 1}')
    assert "shop: the id table has 1 items, the set 50" in go("--model_name", "BPRMF", *flags)[2]


@pytest.mark.parametrize("flags", [["--dataset", "all"], ["--dataset", "top", "--test_all", "1"]])
def test_ranking_all_items_leaves_out_other_clicks(go, work: Path, flags):
    _, out, _ = go("--model_name", "BPRMF", *TOP, *flags)
    path = next((work / "log/BPRMF").glob("*/rec-BPRMF-test.csv"))
    table = pd.read_csv(path, sep="\t", converters={"rec_items": json.loads})
    splits = [pd.read_csv(work / "data" / flags[1] / f"{s}.csv", sep="\t") for s in ("train", "dev", "test")]
    clicked = pd.concat(splits).groupby("user_id").item_id.agg(set)
    n_items = max(int(s.item_id.max()) for s in splits) + 1
    hits = 0
    for user, target, items in zip(table.user_id, splits[2].item_id, table.rec_items, strict=True):
        assert set(items) == set(range(1, n_items)) - (clicked[user] - {target})
        hits += target in items[:10]
    assert f"HR@10:{hits / len(table):.4f}" in out.split("Test After Training:")[1]


@pytest.mark.parametrize("model", ["ANS", "LightGCN", "BPRMF"])
@pytest.mark.parametrize("loss", ["BPR", "BPRhardafter", "listnet", "softmaxCE", "attention_rank"])
def test_impression(go, work: Path, model, loss):
    flags = ["--model_mode", "Impression", "--loss_n", loss, "--topk", "1,2,3", "--main_metric", "NDCG@2"]
    status, out, err = go("--model_name", model, *SHOWN, *flags)
    assert (status, err) == (0, "")
    assert re.search(r"dev=\(HR@2:\S+,MAP@2:\S+,NDCG@2:\S+\)", out)
    table = pd.read_csv(
        next((work / f"log/{model}Impression").glob(f"*/rec-{model}Impression-dev.csv")),
        sep="\t",
        converters=dict.fromkeys(["pos_items", "pos_predictions", "neg_items", "neg_predictions"], json.loads),
    )
    assert list(table.columns) == ["user_id", "pos_items", "pos_predictions", "neg_items", "neg_predictions"]
    shown = pd.read_csv(work / "data/shown/dev.csv", sep="\t")
    labels = shown.groupby(["user_id", "item_id"]).label.agg(set)
    for row in table.itertuples():
        assert len(row.pos_items) == len(row.pos_predictions) > 0
        assert len(row.neg_items) == len(row.neg_predictions) > 0
        assert all(1 in labels[row.user_id, item] for item in row.pos_items)
        assert all(0 in labels[row.user_id, item] for item in row.neg_items)


@pytest.mark.parametrize("model", ["ANS", "LightGCN", "BPRMF"])
@pytest.mark.parametrize("loss", ["BCE", "MSE"])
def test_ctr(go, work: Path, model, loss):
    status, out, err = go("--model_name", model, *SHOWN, "--model_mode", "CTR", "--loss_n", loss)
    assert (status, err) == (0, "")
    assert re.search(r"dev=\(ACC:\S+,AUC:\S+,F1_SCORE:\S+,LOG_LOSS:\S+\)", out)
    table = pd.read_csv(next((work / f"log/{model}CTR").glob(f"*/rec-{model}CTR-test.csv")), sep="\t")
    shown = pd.read_csv(work / "data/shown/test.csv", sep="\t")
    assert list(table.columns) == ["user_id", "item_id", "pCTR", "label"]
    assert np.array_equal(table.label, shown.label)
    assert f"ACC:{((table.pCTR > 0.5) == table.label).mean():.4f}" in out.split("Test After Training:")[1]


def test_smaller_is_better_for_log_loss(go):
    _, out, _ = go("--model_name", "BPRMF", *SHOWN, "--model_mode", "CTR", "--main_metric", "LOG_LOSS", "--lr", "0.01")
    losses = [float(x) for x in re.findall(r"^Epoch.*LOG_LOSS:([\d.]+)", out, re.MULTILINE)]
    assert int(find_info(out.splitlines())["Best Iter"]) == 1 + int(np.argmin(losses))


def test_pop(go):
    status, out, _ = go("--model_name", "POP", *[f for f in TOP if f not in ("--emb_size", "8")], "--train", "0")
    assert status == 0
    assert "Epoch" not in out
    assert "Test After Training" in out


def test_the_log_begins_with_the_places_and_tells_what_it_overwrites(go, work: Path):
    flags = ["--model_name", "BPRMF", *TOP, "--out", "there"]
    assert go(*flags)[1].startswith("Files: log there/log/BPRMF/BPRMF__top__0")
    told = "Overwrites the results of a run with other flags, --num_neg 1 -> 2; --out keeps both"
    assert told not in go(*flags)[1]
    assert told in go(*flags, "--num_neg", "2")[1]
    assert told not in go(*flags, "--num_neg", "1", "--load", "1")[1]


def test_seeds(go):
    first, again, other = (figures(go("--model_name", "ANS", *TOP, "--random_seed", s)[1]) for s in ("1", "1", "2"))
    assert first == again
    assert first != other


def test_reference_backend_trains_the_same(go):
    fused = figures(go("--model_name", "ANS", *TOP)[1])
    with backend("reference"):
        reference = figures(go("--model_name", "ANS", *TOP)[1])
    losses = [[float(x[5:]) for x in run if x.startswith("loss=")] for run in (fused, reference)]
    assert losses[0] == pytest.approx(losses[1], abs=2e-4)


def test_weights_can_be_used_from_python(go, work: Path):
    go("--model_name", "LightGCN", *TOP)
    model = models.load(next((work / "model/LightGCN").glob("*=64.pt")))
    items, scores = model.recommend([1, 2], k=5)
    assert items.shape == scores.shape == (2, 5)
    assert (items > 0).all()


def test_load_without_training(go, work: Path):
    _, trained, _ = go("--model_name", "BPRMF", *TOP)
    _, loaded, _ = go("--model_name", "BPRMF", *TOP, "--load", "1", "--train", "0")
    assert find_info(loaded.splitlines())["Test"] == find_info(trained.splitlines())["Test"]


def test_weights_alone_can_be_trained_on(go, work: Path):
    go("--model_name", "BPRMF", *TOP)
    next((work / "model/BPRMF").glob("*.resume.pt")).unlink()
    _, out, _ = go("--model_name", "BPRMF", *TOP, "--load", "1")
    assert "Load model from" in out
    assert "Epoch 1 " in out


def test_plot(go, work: Path):
    assert go("--model_name", "BPRMF", *TOP, "--plot", "1")[0] == 0
    assert next((work / "log/BPRMF").glob("*/curves.png")).read_bytes().startswith(b"\x89PNG")


def test_collapse_is_said(go):
    flags = ["--gamma", "10", "--epoch", "40", "--early_stop", "0", "--lr", "0.003"]
    _, out, _ = go("--model_name", "ANS", *TOP, *flags)
    assert out.count("Embeddings have collapsed") == 1
    assert "lower --gamma" in out


def test_remarks_on_the_data_are_logged(go, work: Path):
    path = work / "data/top/train.csv"
    path.write_text(path.read_text() + (work / "data/top/test.csv").read_text().splitlines()[1].rsplit("\t", 1)[0])
    _, out, _ = go(*TOP, "--epoch", "1", "--model_name", "BPRMF")
    assert "1 of 120 clicks of dev and test are on an item that their user clicked in train" in out


def test_losses_of_a_batch_have_runs_of_their_own(go, work: Path):
    flags = "--model_name BPRMF --path ../data --dataset top --epoch 2 --batch_size 64 --emb_size 8".split()
    assert go(*flags)[0] == 0
    assert go(*flags, "--loss_n", "SSM", "--temperature", "0.2")[0] == 0
    names = sorted(path.name for path in Path("../log/BPRMF").glob("*.txt"))
    assert [("loss_n=SSM" in name, "temperature=0.2" in name) for name in names] == [(False, False), (True, True)]
    assert go(*flags, "--negative_sampling", "ANS", "--loss_n", "SSM")[0] == 0
    own = ["--loss_n", "SL@K", "--slk_every", "1", "--n_shared", "8"]
    assert go(*flags, *own)[0] == 0
    _, out, _ = go(*flags, *own, "--load", "1", "--epoch", "3")
    assert "Resume after epoch 2 " in out
    assert go(*flags, "--negative_sampling", "ANS", "--loss_n", "DirectAU")[0] == 2
