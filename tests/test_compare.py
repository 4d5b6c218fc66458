"""The comparison: its grid, what it resumes, and its table."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel

from ans_fast.compare import table
from ans_fast.compare.command import _values, main, make_grid, parse, parser, write_table
from ans_fast.compare.earlier import earlier_records
from ans_fast.compare.flags import PUBLISHED, flags_of_models
from ans_fast.compare.grid import Run
from ans_fast.compare.lock import locked
from ans_fast.compare.significance import Difference, differences, holm
from ans_fast.errors import UserError
from ans_fast.models import MODULES
from ans_fast.runner.row_metrics import FILE, write_row_metrics
from ans_fast.tensor_files import load_tensors
from tests import literal_metrics
from tests.conftest import ROOT


def test_trains_once_and_goes_on_where_it_stopped(tmp_path, capsys):
    def go(models: str, *more: str) -> int:
        flags = f"--models {models} --datasets demo --seeds 0 --epoch 2 --metrics HR@5,NDCG@5 --batch_size 4096"
        return main([*flags.split(), "--path", f"{tmp_path}/data", "--out", f"{tmp_path}/out", *more])

    assert go("POP") == 0
    done = tmp_path / "out/runs/demo@TopK/POP/0/done.json"
    before = done.stat().st_mtime_ns
    assert json.loads(done.read_text())["peak_bytes"] > 2**20
    assert go("POP,BPRMF", "--baseline", "POP") == 0
    assert done.stat().st_mtime_ns == before  # was not run again
    rows = list(csv.DictReader((tmp_path / "out/table.csv").open()))
    assert [row["model"] for row in rows] == ["POP", "BPRMF"]
    assert float(rows[1]["HR@5 mean"]) > 0
    assert [0 <= float(row["NDCG@5 p"] or "nan") <= 1 for row in rows] == [False, True]
    assert "better, worse than POP with p < 0.05" in (tmp_path / "out/table.md").read_text()
    assert float(rows[1]["epoch_seconds"]) > 0
    assert "| demo | BPRMF | 1 |" in (tmp_path / "out/table.md").read_text()
    capsys.readouterr()
    train = tmp_path / "data/demo/train.csv"
    train.write_bytes(train.read_bytes().rsplit(b"\n", 2)[0] + b"\n")
    assert go("POP") == 0
    assert done.stat().st_mtime_ns != before  # other data: was run anew
    assert [row["model"] for row in csv.DictReader((tmp_path / "out/table.csv").open())] == ["POP", "BPRMF"]
    before = (tmp_path / "out/table.md").read_text().splitlines()
    assert go("POP", "--flags", f"POP: --train 0 --tensorboard {train}") == 1  # a file in the place of its folder
    assert sorted((tmp_path / "out/table.md").read_text().splitlines()) == sorted(before)
    capsys.readouterr()
    assert go("POP", "--flags", "POP: --train 0 --nonsense 1") == 2
    assert capsys.readouterr().err.startswith("error: unknown flag --nonsense")


@pytest.fixture
def run(tmp_path):
    """Makes the run of some flags, and a result as it would leave it."""

    def make(flags: str, *, finished: bool) -> Run:
        line = f"--models POP --datasets demo --seeds 0 --path {tmp_path}/data --out {tmp_path}/out"
        (made,) = make_grid(parser().parse_args([*line.split(), "--flags", f"POP: {flags}"]))
        if finished:
            (made.folder / "log").mkdir(parents=True)
            (made.folder / "log/results.json").write_text(json.dumps({**made.asked(), "results": {"test": {}}}))
            (made.folder / "done.json").write_text('{"peak_bytes": 1}')
        return made

    return make


def test_a_metric_of_zero_is_told_as_one():
    assert _values({"results": {"test": {"HR@5": 0.0, "AUC": None}}}, ["HR@5", "AUC"]) == "HR@5 0.0000, AUC nan"


@pytest.mark.parametrize("other", ["--topk 7", "--test_all 1", "--lr 0.5", "--num_neg 3", "--batch_size 8"])
def test_a_result_counts_for_its_own_flags_only(run, other):
    assert run("--train 0", finished=True).record()["peak_bytes"] == 1
    assert run("--train 0 --lr 0.001", finished=False).record() is not None  # that is the default
    assert run(f"--train 0 {other}", finished=False).record() is None


@pytest.mark.parametrize("file", ["train.csv", "dev.csv", "test.csv", "item_meta.csv"])
def test_a_result_counts_for_its_own_data_only(run, tmp_path, file):
    made, path = run("--train 0", finished=True), tmp_path / "data/demo" / file
    before = path.read_bytes() if path.exists() else b"item_id\n"
    path.write_bytes(before + b"1" * (not before))
    made.record()
    path.write_bytes(before + b"\n")
    assert made.record() is None


@pytest.mark.parametrize("content", ["", "[]", "null", "{", "[" * 100_000, '{"flags": 3}'])
@pytest.mark.parametrize("name", ["done.json", "log/results.json"])
def test_a_damaged_file_is_no_result(run, name, content):
    made = run("--train 0", finished=True)
    (made.folder / name).write_text(content)
    assert made.record() is None


def test_protocol_measures_as_lightgcn(tmp_path):
    """A run on adjacency lists: the table's figures from the run's weights, item by item, by LightGCN's definitions."""
    rng = np.random.default_rng(0)
    items = [rng.permutation(40) for _ in range(30)]
    given = [[*own[:20]] for own in items], [[*own[20 : 20 + 1 + user % 5]] for user, own in enumerate(items)]
    (tmp_path / "data/lists").mkdir(parents=True)
    for name, lists in zip(("train", "test"), given, strict=True):
        rows = (" ".join(map(str, [user, *own])) + "\n" for user, own in enumerate(lists) if user or name == "train")
        (tmp_path / f"data/lists/{name}.txt").write_text("".join(rows))
    flags = "--protocol lightgcn --models BPRMF --datasets lists --seeds 3 --epoch 3 --all=--lr=0.1"
    assert main([*flags.split(), "--path", f"{tmp_path}/data", "--out", f"{tmp_path}/out"]) == 0
    folder = tmp_path / "out/runs/lists@TopK/BPRMF/3"
    weights = load_tensors(folder / "weights.pt")["weights"]
    scores = weights["u_embeddings.weight"][1:] @ weights["i_embeddings.weight"][1:].T
    users = [(row, {*train}, {*test}) for row, train, test in zip(scores.tolist(), *given, strict=True)]
    del users[0]  # has nothing in test
    (row,) = csv.DictReader((tmp_path / "out/table.csv").open())
    for k in (20, 15):
        wanted = literal_metrics.by_user(users, k)
        for name in ("RECALL", "NDCG", "PRECISION", "HR"):
            assert float(row[f"{name}@{k} mean"]) == pytest.approx(wanted[name], abs=1e-12)
    flags = json.loads((folder / "log/results.json").read_text())["flags"]
    assert (flags["main_metric"], flags["batch_size"], flags["reg_weight"]) == ("RECALL@20", 2048, 1e-4)
    told = "lists, protocol lightgcn: all items ranked but the user's train clicks, each user once"
    assert told in (tmp_path / "out/table.md").read_text()
    assert sorted(path.name for path in (tmp_path / "data/lists").iterdir()) == ["test.txt", "train.txt"]


def test_a_protocol_has_models_and_metrics():
    args = parse("--protocol lightgcn --datasets gowalla".split())
    assert args.models == ["LightGCN", "BPRMF"]
    assert args.metrics == [f"{name}@{k}" for k in (20, 15) for name in ("RECALL", "NDCG", "PRECISION", "HR")]
    assert parse("--protocol lightgcn --datasets gowalla --models ANS".split()).models == ["ANS"]


def test_one_at_a_time_and_no_run_outlives_its_comparison(tmp_path, capsys):
    flags = "--models BPRMF --datasets demo --seeds 0 --epoch 1000000 --all=--early_stop=0".split()
    flags += ["--path", f"{tmp_path}/data", "--out", f"{tmp_path}/out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-m", "ans_fast.compare", *flags], env=environment) as first:
        try:
            log = tmp_path / "out/runs/demo@TopK/BPRMF/0/log.txt"
            wait_until(lambda: log.exists() and "Epoch 1 " in log.read_text())
            assert main(flags) == 2
            err = capsys.readouterr().err
            assert err.startswith(f"error: --out {tmp_path}/out: another comparison or search runs there")
            assert err.count("\n") == 1
        finally:
            first.kill()
    wait_until(lambda: is_free(tmp_path / "out"))  # the run, which holds the lock too, has ended
    length = len(log.read_text())
    time.sleep(0.3)
    assert len(log.read_text()) == length


def test_who_inherits_the_lock_holds_it(tmp_path):
    with locked(tmp_path) as number:
        assert not is_free(tmp_path)
        heir = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[number])
    assert not is_free(tmp_path)
    heir.communicate(b"\n")
    assert is_free(tmp_path)


def is_free(folder: Path) -> bool:
    try:
        with locked(folder):
            return True
    except UserError:
        return False


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_grid_has_every_cell_once(tmp_path):
    args = parser().parse_args(
        [
            "--models",
            "ANS,LightGCN+big",
            "--datasets",
            "a,b:Impression,a:TopK",
            "--flags",
            "LightGCN+big: --emb_size 128",
        ]
    )
    grid = make_grid(args)
    assert len(grid) == 12
    assert len({run.folder for run in grid}) == 12
    assert [*grid[-1].command[:4]] == ["--model_name", "LightGCN", "--model_mode", "Impression"]
    assert grid[-1].command[-4:] == ["--emb_size", "128", "--save_final_results", "0"]


def test_every_data_set_has_a_folder_of_its_own():
    names = "x:Impression,x_Impression,x@Impression,x/Impression,x%3AImpression,x,..,:CTR"
    grid = make_grid(
        parse(["--models", "ANS", "--datasets", names, "--metrics", "HR@5,AUC", "--out", "o", "--seeds", "0"])
    )
    folders = [run.folder.parts for run in grid]
    assert len(set(folders)) == 8
    assert {len(parts) for parts in folders} == {5}
    assert ".." not in {part for parts in folders for part in parts}


def test_flags_come_from_file_and_command_line(tmp_path):
    (tmp_path / "flags.json").write_text('{"BPRMF": "--l2 1e-5", "POP": "--train 0 --test_all 1"}')
    flags = flags_of_models(["BPRMF", "POP", "FPMC"], str(tmp_path / "flags.json"), ["BPRMF: --l2 0"])
    assert flags == {"BPRMF": ["--l2", "0"], "POP": "--train 0 --test_all 1".split(), "FPMC": PUBLISHED["FPMC"].split()}
    assert set(PUBLISHED) <= set(MODULES)


def test_unwritable_folder_is_told(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["--models", "POP", "--datasets", "demo", "--out", str(tmp_path / "file/out")]) == 2
    assert capsys.readouterr().err.startswith("error: cannot write ")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            "--models POP --datasets demo --lr 0.1 --l2 0",
            "--lr is a flag of the runs: --all '--lr 0.1 --l2 0'",
        ),
        ("--models POP --datasets demo --lrr 0.1", "unknown flag --lrr (--help lists all flags)"),
        ("--models POP --datasets demo --metrics AUC", "--metrics AUC: TopK mode has only HR, NDCG"),
        ("--models POP --datasets demo:CTR --metrics AUC", "POP has no CTR mode"),
        ("--models POP --datasets demo:Foo", "--model_mode must be"),
        ("--models POP --datasets demo --all=--topk=5 --metrics HR@9", "--metrics HR@9: no run reports it, but HR@5"),
        (
            "--datasets demo",
            "--models is missing, such as --models LightGCN,ANS; only a --protocol has some of its own",
        ),
        ("--models BPRMF --datasets demo,x:CTR --metrics HR@5", "--metrics HR@5: CTR mode has only AUC"),
        ("--models POP --datasets demo --baseline ANS", "--baseline must be one of --models, POP, got ANS"),
        ("--models POP --datasets demo,none --metrics HR@5", "no data set 'none'"),
    ],
)
def test_mistakes_are_told_before_the_first_run(flags, message, tmp_path, capsys):
    assert main([*flags.split(), "--out", str(tmp_path / "out"), "--path", str(tmp_path / "data")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {message}")
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out/runs").exists()


def test_runs_report_what_the_table_has():
    line = "--models LightGCN --datasets a,b:CTR --metrics NDCG@7,AUC,HR@5"
    top, clicks = (run.reports() for run in make_grid(parse([*line.split(), "--seeds", "0"])))
    assert {"NDCG@7", "HR@5", "HR@50"} <= {*top}
    assert "AUC" in clicks


def test_lines_of_other_grids_stay_in_the_table(tmp_path):
    """Of a line's runs those that are like the newest."""

    def leave(model: str, seed: str, lr: float, value: float, age: int) -> None:
        folder = tmp_path / "runs/demo@TopK" / model / seed
        (folder / "log").mkdir(parents=True)
        record = {
            "fingerprint": "f", "flags": {"lr": lr, "random_seed": int(seed.partition(".")[0]), "path": seed},
            "results": {"test": {"HR@5": value}}, "epochs": [],
        }  # fmt: skip
        (folder / "log/results.json").write_text(json.dumps(record))
        (folder / "done.json").write_text('{"peak_bytes": 1}')
        os.utime(folder / "done.json", (1e9 - age, 1e9 - age))

    leave("BPRMF", "0", 0.1, 0.3, age=0)
    leave("BPRMF", "1", 0.1, 0.4, age=5)
    leave("BPRMF", "2", 0.2, 0.9, age=1)
    leave("POP", "0", 0.1, 0.8, age=0)
    leave("POP", "0.before", 0.1, 0.1, age=3)
    found = earlier_records(tmp_path, without=[])
    values = {cell: [r["results"]["test"]["HR@5"] for r in records] for cell, records in found.items()}
    assert values == {("demo", "BPRMF"): [0.3, 0.4], ("demo", "POP"): [0.8]}
    assert [*earlier_records(tmp_path, without=[("demo", "POP")])] == [("demo", "BPRMF")]
    args = parse(["--models", "POP", "--datasets", "demo", "--metrics", "HR@5", "--out", str(tmp_path)])
    assert "| demo | BPRMF | 2 | 0.3500 ± 0.0707 |" in write_table({}, args)


def test_differences_are_those_of_users(tmp_path):
    """Rows of a user count once together, seeds are averaged, and p-values of a data set are corrected together."""
    rng = np.random.default_rng(0)
    users = rng.permutation(np.repeat(np.arange(40), 3))
    names = ("base", "better", "alike", "same", "elsewhere")
    values = {name: rng.random((2, 120)).astype(np.float32) for name in names}
    values["better"] = values["base"] + 0.2 * rng.random((2, 120)).astype(np.float32)
    values["same"] = values["base"]
    records = {}
    for name, of_seeds in values.items():
        for seed, of_rows in enumerate(of_seeds):
            folder = tmp_path / name / str(seed)
            (folder / "log").mkdir(parents=True)
            rows = {"HR@5": torch.tensor(of_rows), "AUC": torch.tensor(0.5)}
            write_row_metrics(folder / "log" / FILE, torch.tensor(users), rows)
            record = {"folder": folder, "fingerprint": "other" if name == "elsewhere" else "data"}
            records.setdefault(("set", name), []).append(record)
    records["set", "lost"] = [{"folder": tmp_path, "fingerprint": "data"}]
    records["another", "better"] = records["set", "better"]
    found = differences(records, ["HR@5", "AUC"], "base")
    assert {cell: [*tests] for cell, tests in found.items() if tests} == {
        ("set", name): ["HR@5"] for name in ("better", "alike", "same")
    }
    means = {
        name: np.array([of_seeds.astype(float)[:, users == user].mean() for user in range(40)])
        for name, of_seeds in values.items()
    }
    p = {name: ttest_rel(means[name], means["base"]).pvalue for name in ("better", "alike")}
    better, alike, same = (found["set", name]["HR@5"] for name in ("better", "alike", "same"))
    assert better.mean == pytest.approx(0.1, abs=0.01)
    assert (better.p, alike.p, same.p) == pytest.approx((3 * p["better"], min(1, 2 * p["alike"]), 1))
    assert (better.mark, alike.mark, same.mark) == ("▲", "", "")
    worse = differences({("set", name): records["set", name] for name in ("base", "better")}, ["HR@5"], "better")
    assert worse["set", "base"]["HR@5"].mark == "▼"


def test_holm():
    """Example: 0.01 · 4, then 0.02 · 3, then 0.022 · 2, which is less than the one before, then 0.9."""
    assert holm([0.9, 0.01, 0.022, 0.02]) == pytest.approx([0.9, 0.04, 0.06, 0.06])
    assert holm([0.7, 0.6]) == [1, 1]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("models", "overrides", "message"),
    [
        (["Nothing"], [], "unknown model"),
        (["BPRMF+x"], [], "has no flags"),
        (["BPRMF"], ["BPRMF --l2 1"], "must be"),
        (["BPRMF"], ["BPRMF: --sep '"], "flags of BPRMF: expected words whose quotes are closed"),
    ],
)
def test_mistakes_are_told(models, overrides, message):
    with pytest.raises(UserError, match=message):
        flags_of_models(models, "", overrides)


def test_nested_without_end_is_told(tmp_path):
    (tmp_path / "flags.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="neither TOML nor JSON"):
        flags_of_models(["POP"], str(tmp_path / "flags.json"), [])


def test_table_marks_each_best():
    lines = [
        table.Line("a", "one", {"HR@5": [0.1, 0.3], "LOG_LOSS": [0.5]}, 1.0, 2**20),
        table.Line("a", "two", {"HR@5": [0.3, 0.3], "LOG_LOSS": [0.6]}, None, 2**21),
        table.Line("b|c", "one", {"HR@5": [0.1]}, 2.0, 2**20),
    ]
    rows = table.markdown(lines, ["HR@5", "LOG_LOSS"]).splitlines()[2:]
    assert rows[0] == "| a | one | 2 | 0.2000 ± 0.1414 | **0.5000** | 1.00 | 1 |"
    assert rows[1] == "| a | two | 2 | **0.3000 ± 0.0000** | 0.6000 | – | 2 |"
    assert rows[2] == "| b&#124;c | one | 1 | **0.1000** | – | 2.00 | 1 |"
    better, alike = Difference(0.1, 0.003), Difference(-0.1, 0.5)
    tested = replace(lines[0], differences={"HR@5": better, "LOG_LOSS": alike})
    row = table.markdown([tested], ["HR@5", "LOG_LOSS"]).splitlines()[2]
    assert "| **0.2000 ± 0.1414** ▲ (p 0.003) | **0.5000** (p 0.5) |" in row
    tested = replace(lines[0], differences={"HR@5": Difference(-0.1, 1e-9)})
    assert "| **0.5000** | 1.00 |" in table.markdown([tested], ["HR@5", "LOG_LOSS"])
    assert "± 0.1414** ▼ (p < 0.0001) |" in table.markdown([tested], ["HR@5", "LOG_LOSS"])
    tested = replace(lines[0], differences={"HR@5": better})
    row = next(csv.DictReader(table.comma_separated([tested, lines[1]], ["HR@5"]).splitlines()))
    assert float(row["HR@5 p"]) == 0.003
    png = table.chart([tested, *lines[1:]], ["HR@5"])
    assert png is None or png[:4] == b"\x89PNG"
