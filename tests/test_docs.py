"""Every block of README and docs/ is run, on small made data of the names in it, or is of a kind that is never run.

Python blocks run in their order, those of a page in one namespace. Shell commands run in this process, for one epoch; a
command that nobody here knows is an error.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.distributed.run import parse_args

from ans_fast import models, overview
from ans_fast.compare import command as compare
from ans_fast.compare.grid import DONE, Run
from ans_fast.data import command as data
from ans_fast.runner import demo
from ans_fast.runner import main as runner
from tests.conftest import ROOT
from tests.runner.conftest import write_sets

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)
NEVER_RUN = {  # kinds, and why
    "text": "what a folder or a screen shows",
    "{toctree}": "the table of contents, for Sphinx",
    "{eval-rst}": "which docstrings a page shows, for Sphinx",
    "{include}": "another file as a page, for Sphinx",
    "{literalinclude}": "an example, which tests/test_examples.py runs",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder beside `data`, in which are all files and data sets that blocks name."""
    write_sets(tmp_path / "data")
    for like, names in (("top", ("Grocery_and_Gourmet_Food", "ML_1MTOPK")), ("shown", ("ML_1MCTR", "MIND_sample"))):
        for name in names:
            shutil.copytree(tmp_path / "data" / like, tmp_path / "data" / name)
    work = tmp_path / "work"
    shutil.copytree(tmp_path / "data" / "top", work / "data" / "demo")
    clicks = own_clicks()
    write_table(work / "own.csv", "user,item,time", clicks)
    write_table(work / "shop.csv", "customer;product;bought_at", clicks)
    for atomic in (work / "ml-100k", work / "dataset" / "ml-100k"):
        write_table(atomic / "ml-100k.inter", "user_id:token\titem_id:token\ttimestamp:float", clicks)
    lists_of = {
        "train": [[user, *((user + step) % 15 for step in range(12))] for user in range(20)],
        "test": [[user, (user + 13) % 15] for user in range(20)],
    }
    for split in lists_of:
        write_table(work / "gowalla" / f"{split}.txt", "", lists_of[split], " ")
        write_table(tmp_path / "data" / "gowalla" / f"{split}.txt", "", lists_of[split], " ")
    monkeypatch.chdir(work)
    monkeypatch.setattr("sys.argv", ["test", "--epochs=1"])  # RecBole reads it
    monkeypatch.setattr(Run, "execute", execute_here)
    monkeypatch.setattr(compare.table, "chart", lambda *_: None)  # drawn anew after each run
    return work


def own_clicks() -> list[list[Any]]:
    """Users, items and times of 120 users, ann and bob among them, who keep to one of three groups of forty items."""
    rng = np.random.default_rng(0)
    clicks = []
    for number, user in enumerate(["ann", "bob", *(f"user-{number}" for number in range(2, 120))]):
        for item in rng.permutation(40)[:12] * 3 + number % 3:
            clicks.append([user, f"item-{item}", int(rng.integers(10**6))])
    return clicks


def write_table(path: Path, header: str, rows: Sequence[Sequence[Any]], sep: str = "") -> None:
    sep = sep or next(mark for mark in ";\t," if mark in header)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*[header] * bool(header), *(sep.join(map(str, row)) for row in rows), ""]))


def execute_here(run: Run, lock: int) -> int:
    """In the place of Run.execute, which starts a process."""
    files = ["--log_file", f"{run.folder}/log.txt", "--model_path", f"{run.folder}/weights.pt"]
    shutil.rmtree(run.folder, ignore_errors=True)
    run.folder.mkdir(parents=True)
    status = runner.main([*run.command, *files])
    (run.folder / DONE).write_text('{"peak_bytes": 0}')
    return status


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page: Path, folder: Path) -> None:
    names: dict[str, Any] = {}
    blocks = BLOCK.findall(page.read_text())
    assert page.read_text().count("```") == 2 * len(blocks), "a block is indented, or has no end"
    for kind, text in blocks:
        if kind == "python":
            run_python(text, page, names)
        elif kind == "sh":
            for line in text.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    run_command(words)
        else:
            assert kind.partition(" ")[0] in NEVER_RUN, f"{page.name} has a block of a kind that nobody knows: {kind!r}"


def run_python(text: str, page: Path, names: dict[str, Any]) -> None:
    """Where RecBole is not installed its block is only compiled: `make recbole` runs it."""
    code = compile(text, page, "exec")
    if "recbole" not in text or importlib.util.find_spec("recbole"):
        exec(code, names)


def run_command(words: Sequence[str]) -> None:
    while re.match("[A-Z_]+=", words[0]):
        words = words[1:]
    for start, check in COMMANDS.items():
        n = len(start.split())
        if words[:n] == start.split():
            try:
                status = check(words[n:])
            except SystemExit as end:  # of --help and --version
                status = end.code
            assert status in (0, None), words
            return
    pytest.fail(f"nobody knows how to check {shlex.join(words)}")


def run_tune(words: Sequence[str]) -> int:
    pytest.importorskip("optuna")
    from ans_fast.tune import command

    return command.main([*words, "--trials", "1", "--epoch", "1"])


def run_data(words: Sequence[str]) -> int | None:
    """Originals, which are large downloads, are not there: their commands are only read."""
    if words[0] != "prepare":
        return data.main(words)
    assert data._parser().parse_args(words).run
    return None


def run_torchrun(words: Sequence[str]) -> None:
    """As one process: tests/distributed has several."""
    args = parse_args(words)
    run_command(["python", "-m", args.training_script, *args.training_script_args])


def run_srun(words: Sequence[str]) -> None:
    """What each task of Slurm's starts, with names in the place of Slurm's own."""
    inner = re.sub(r"\$\(.*?\)|\$\w+", "name", words[words.index("-c") + 1])
    run_command(shlex.split(inner))


def has_target(words: Sequence[str]) -> None:
    """And variables, NAME=value."""
    rules = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", rules, re.MULTILINE)[1].split()
    variables = re.findall(r"^(\w+) \?= ", rules, re.MULTILINE)
    for word in words:
        name, given, _ = word.partition("=")
        assert name in (variables if given else targets), word


def has_extras(words: Sequence[str]) -> None:
    extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    asked = re.findall(r"\[(\w+)\]", " ".join(words))
    assert set(asked) <= set(extras)


COMMANDS: dict[str, Callable[[Sequence[str]], int | None]] = {
    "python -m ans_fast": overview.main,
    "python -m ans_fast.demo": lambda words: demo.main([*words, "--epoch", "1"]),
    "python -m ans_fast.run": lambda words: runner.main([*words, "--epoch", "1"]),
    "python -m ans_fast.compare": lambda words: compare.main([*words, "--epoch", "1", "--seeds", "0"]),
    "python -m ans_fast.tune": run_tune,
    "python -m ans_fast.data": run_data,
    # these take minutes: tests/test_benchmarks.py runs small ones
    "python -m benchmarks.report": lambda words: None,
    "python -m benchmarks.samplers": lambda words: None,
    "python -m benchmarks.time_to_quality": lambda words: None,
    "torchrun": run_torchrun,
    "srun": run_srun,
    "make": has_target,
    "pip install": has_extras,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = BLOCK.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)#]*)[^)]*\)", prose):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.filterwarnings("ignore")  # of what Sphinx and its extensions use of each other
def test_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    """As `make docs` builds them."""
    build = pytest.importorskip("sphinx.cmd.build", reason="Sphinx is not installed: pip install '.[docs]'")
    assert build.main(["-q", "-W", "--keep-going", str(ROOT / "docs"), str(tmp_path)]) == 0
    reference = (tmp_path / "api.html").read_text()
    assert all(f'id="ans_fast.{name}"' in reference for name in ("Interactions", "ops.ans_terms", "models.ANS"))


def test_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120
    assert max(len(line) for line in lines if not line.startswith("|")) <= 120


@pytest.mark.parametrize("name", models.MODULES)
def test_flags_of_models_are_told(name: str) -> None:
    """With their defaults, in the tables of the model's own section and of those for several."""
    sections = re.split("^## ", (ROOT / "docs" / "models.md").read_text(), flags=re.MULTILINE)[1:]
    told: dict[str, str] = {}
    for section in sections:
        if {"Every model", "Softmax losses", name} & set(section.splitlines()[0].split(", ")):
            told |= re.findall(r"^\| `--(\w+)` \| `?(.*?)`? ?\|", section, re.MULTILINE)
    flags = {flag: str(option.default) for flag, option in models.by_name(name).options().items() if option.help}
    assert {flag: told.get(flag) for flag in flags} == flags
