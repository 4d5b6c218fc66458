"""The comparison: its grid, what it resumes, and its table."""

from __future__ import annotations

import csv
import json

import pytest

from ans_fast.compare import table
from ans_fast.compare.command import main, make_grid, parser
from ans_fast.compare.flags import PUBLISHED, flags_of_models
from ans_fast.errors import UserError
from ans_fast.models import MODULES


def test_trains_once_and_goes_on_where_it_stopped(tmp_path, capsys):
    def go(models: str, *more: str) -> int:
        flags = f"--models {models} --datasets demo --seeds 0 --epoch 2 --metrics HR@5,NDCG@5 --batch_size 4096"
        return main([*flags.split(), "--path", f"{tmp_path}/data", "--out", f"{tmp_path}/out", *more])

    assert go("POP") == 0
    done = next(tmp_path.glob("out/runs/*/0/done.json"))
    before = done.stat().st_mtime_ns
    assert json.loads(done.read_text())["peak_bytes"] > 2**20
    assert go("POP,BPRMF") == 0
    assert done.stat().st_mtime_ns == before  # was not run again
    rows = list(csv.DictReader((tmp_path / "out/table.csv").open()))
    assert [row["model"] for row in rows] == ["POP", "BPRMF"]
    assert float(rows[1]["HR@5 mean"]) > 0
    assert float(rows[1]["epoch_seconds"]) > 0
    assert "| demo | BPRMF | 1 |" in (tmp_path / "out/table.md").read_text()
    capsys.readouterr()
    assert go("POP", "--flags", "POP: --train 0 --nonsense 1") == 1  # other flags: run anew
    assert "unknown flag --nonsense" in capsys.readouterr().out


def test_grid_has_every_cell_once(tmp_path):
    args = parser().parse_args(
        ["--models", "ANS,LightGCN+big", "--datasets", "a,b:Impression", "--flags", "LightGCN+big: --emb_size 128"]
    )
    grid = make_grid(args)
    assert len(grid) == 12
    assert len({run.folder for run in grid}) == 12
    assert [*grid[-1].command[:4]] == ["--model_name", "LightGCN", "--model_mode", "Impression"]
    assert grid[-1].command[-2:] == ["--emb_size", "128"]


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
    ("models", "overrides", "message"),
    [
        (["Nothing"], [], "unknown model"),
        (["BPRMF+x"], [], "has no flags"),
        (["BPRMF"], ["BPRMF --l2 1"], "must be"),
    ],
)
def test_mistakes_are_told(models, overrides, message):
    with pytest.raises(UserError, match=message):
        flags_of_models(models, "", overrides)


def test_table_marks_each_best():
    lines = [
        table.Line("a", "one", {"HR@5": [0.1, 0.3], "LOG_LOSS": [0.5]}, 1.0, 2**20),
        table.Line("a", "two", {"HR@5": [0.3, 0.3], "LOG_LOSS": [0.6]}, None, 2**21),
        table.Line("b", "one", {"HR@5": [0.1]}, 2.0, 2**20),
    ]
    rows = table.markdown(lines, ["HR@5", "LOG_LOSS"]).splitlines()[2:]
    assert rows[0] == "| a | one | 2 | 0.2000 ± 0.1414 | **0.5000** | 1.00 | 1 |"
    assert rows[1] == "| a | two | 2 | **0.3000 ± 0.0000** | 0.6000 | – | 2 |"
    assert rows[2] == "| b | one | 1 | **0.1000** | – | 2.00 | 1 |"
    png = table.chart(lines, ["HR@5"])
    assert png is None or png[:4] == b"\x89PNG"
