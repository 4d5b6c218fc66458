"""The search: what it finds, that it goes on, and what it refuses."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="optuna is not installed")

import optuna

from ans_fast.runner.main import main as run_main
from ans_fast.tune import trial
from ans_fast.tune.command import main

FLAGS = "--model_name BPRMF --path data --dataset demo --epoch 3 --batch_size 1024 --emb_size 8 --num_neg 1".split()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, and splits that are asked for are dev alone."""
    make = trial.make_evaluator

    def of_dev(model, dataset, split, args):
        assert split == "dev"
        return make(model, dataset, split, args)

    monkeypatch.setattr(trial, "make_evaluator", of_dev)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows() -> list[dict[str, str]]:
    with open("tune/BPRMF@demo/trials.csv") as file:
        return list(csv.DictReader(file))


def test_finds_flags_and_goes_on(capsys):
    assert main([*FLAGS, "--trials", "2", "--space", "lr=1e-4..1e-1:log"]) == 0
    assert len(rows()) == 2
    searched = {name.removeprefix("params_") for name in rows()[0] if name.startswith("params_")}
    assert searched == {"lr", "l2", "reg_weight"}  # not the temperature, which BPR does not look at
    first = Path("tune/BPRMF@demo/study.db")
    optuna.load_study(study_name="study", storage=f"sqlite:///{first}").ask()  # as if a process had been killed
    capsys.readouterr()
    assert main([*FLAGS, "--trials", "5", "--space", "lr=1e-4..1e-1:log"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split("]")[0] for line in out[:-2]] == ["[3/5", "[4/5", "[5/5"]
    ended = [row for row in rows() if row["state"] in ("COMPLETE", "PRUNED")]
    assert len(ended) == 5
    assert len({row["params_lr"] for row in ended}) == 5
    best = max((row for row in ended if row["state"] == "COMPLETE"), key=lambda row: float(row["value"]))
    assert f"dev NDCG@5 {float(best['value']):.4f} in epoch" in out[-2]
    command = shlex.split(out[-1])
    assert command[:3] == ["python", "-m", "ans_fast.run"]
    assert run_main([*command[3:], "--log_file", "log.txt", "--model_path", "weights.pt"]) == 0
    epochs = json.loads(Path("log/results.json").read_text())["epochs"]
    assert max(epoch["dev"]["NDCG@5"] for epoch in epochs) == pytest.approx(float(best["value"]), abs=1e-12)


def test_no_trial_begins_when_the_time_is_over(capsys):
    space = ["--space", "lr=1e-4..1e-1:log"]
    assert main([*FLAGS, "--trials", "3", "--minutes", "0.00001", *space]) == 0
    assert len(rows()) == 1  # what begins is brought to its end
    assert "best of 1 trials" in capsys.readouterr().out
    assert main([*FLAGS, "--trials", "2", "--minutes", "9", *space]) == 0
    assert len(rows()) == 2


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--space", "depth=1..3"], "unknown flag --depth for BPRMF"),
        (["--space", "lr=1..10000000000000000000000000000000000000000:log"], "--lr"),
        (["--test_epoch", "1"], "--test_epoch has no meaning in a search"),
        (["--epoch", "0"], "a search compares trained models, and --epoch 0 trains none"),
        (["--trials", "0"], "--trials"),
        (["--lr", "x"], "--lr"),
    ],
)
def test_mistakes_are_told_before_training(argv, told, capsys):
    assert main([*FLAGS, *argv]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert told in err
    assert len(err.splitlines()) == 1
    assert not Path("tune").exists()


def test_there_must_be_something_to_train(capsys):
    assert main(["--model_name", "POP"]) == 2
    assert capsys.readouterr().err == "error: a search compares trained models, and POP has nothing to train\n"


def test_what_a_choice_has_no_flag_for_is_not_searched(capsys):
    """ANS over BPRMF has n_layers, but only one."""
    flags = "--model_name BPRMF --negative_sampling ANS --epoch 1 --batch_size 9999 --emb_size 4 --trials 1".split()
    assert main(flags) == 0
    assert "--gamma" in capsys.readouterr().out


def test_another_search_is_not_gone_on_with(capsys):
    assert main([*FLAGS, "--trials", "1", "--space", "lr=1e-4..1e-1:log"]) == 0
    assert main([*FLAGS, "--trials", "2", "--space", "lr=1e-4..1e-2:log"]) == 2
    assert "holds a search of other space" in capsys.readouterr().err
    assert main([*FLAGS, "--trials", "2", "--space", "lr=1e-4..1e-1:log", "--random_seed", "4"]) == 2
    assert "holds a search of other flags" in capsys.readouterr().err


def test_trials_without_a_result_are_told(capsys):
    assert main([*FLAGS, "--trials", "2", "--space", "lr=1e30..1e31"]) == 2
    said = capsys.readouterr()
    assert "the loss is not finite" in said.out
    assert said.err == "error: every trial was stopped: give wider ranges, or a lower --lr\n"


def test_a_search_needs_optuna(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    assert main(FLAGS) == 2
    assert capsys.readouterr().err == "error: python -m ans_fast.tune needs optuna: pip install optuna\n"
