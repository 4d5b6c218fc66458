"""What people get wrong: one line on stderr, exit status 2, no traceback, no files left."""

from __future__ import annotations

import os
import re
import resource
import shutil
from functools import partial
from pathlib import Path

import pytest

from ans_fast.tensor_files import load_tensors
from tests.conftest import refused

TOP = "--path ../data --dataset top --epoch 2 --batch_size 64 --emb_size 8".split()

CASES = {
    "unknown flag": (["--n_layer", "3"], "unknown flag --n_layer for ANS in TopK mode; did you mean --n_layers?"),
    "flag of another mode": (["--impression_idkey", "time"], "unknown flag --impression_idkey for ANS in TopK mode"),
    "stray value": (["7"], "unexpected argument '7'"),
    "unknown model": (["--model_name", "LightGNC"], "unknown model 'LightGNC'"),
    "unknown mode": (["--model_mode", "Topk"], "--model_mode must be '', TopK, Impression, CTR, got 'Topk'"),
    "mode that a model lacks": (["--model_name", "POP", "--model_mode", "CTR"], "POP has no CTR mode"),
    "unknown metric": (
        ["--metric", "NDCGG"],
        "MRR, MAP, got 'NDCGG'; did you mean NDCG?",
    ),
    "no metric": (["--metric", ","], "argument --metric: expected one of HR, "),
    "bad topk": (["--topk", "5,x"], "argument --topk: expected an integer from 1 to 2147483647, got 'x'"),
    "zero topk": (["--topk", "0"], "argument --topk: expected an integer from 1 to 2147483647, got '0'"),
    "bad main metric": (["--main_metric", "NDCG"], "argument --main_metric: expected one of HR@5, NDCG@5, "),
    "bad number": (["--lr", "fast"], "argument --lr: expected a number from 0 to 1e+38, got 'fast'"),
    "bad integer": (["--batch_size", "0"], "argument --batch_size: expected an integer from 1 to 2147483647, got '0'"),
    "bad switch": (["--load", "2"], "argument --load: expected 0 or 1, got '2'"),
    "bad optimizer": (["--optimizer", "Adm"], "argument --optimizer: invalid choice: 'Adm'"),
    "huge seed": (["--random_seed", str(2**70)], "argument --random_seed: expected an integer"),
    "missing value": (["--lr"], "argument --lr: expected one argument"),
    "no such data": (["--dataset", "topp"], "no data set 'topp'"),
    "folder for weights": (["--model_path", "."], "cannot write .: is a directory"),
    "untrained": (["--train", "0"], "--train 0 without --load 1: an untrained ANS has nothing to evaluate"),
    "nothing to load": (["--load", "1", "--train", "0"], "no such file"),
}


@pytest.mark.parametrize("name", CASES)
def test_user_errors(go, work: Path, name):
    flags, message = CASES[name]
    status, _, err = go(*TOP, *flags)
    assert status == 2
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    if name != "nothing to load":
        assert not (work / "log").exists()


def test_what_may_not_be_read_or_written(work: Path) -> None:
    Path("locked").mkdir(mode=0)
    Path("locked.pt").touch(mode=0)
    expected = {
        **{
            f"{flag} locked/x": f"cannot write locked/x: permission denied; {flag} or --out names another place"
            for flag in ("--model_path", "--log_file")
        },
        "--train 0 --load 1 --model_path locked.pt": "cannot read locked.pt: permission denied",
        "--train 0 --load 1 --model_path locked/x.pt": "locked/x.pt: no such file",
        "--path . --dataset locked": "cannot read locked/train.csv: permission denied",
    }
    told = refused("ans_fast.runner.main", [" ".join([*TOP, flags]) for flags in expected], Path.cwd())
    assert told == [*expected.values()]


def test_no_traceback_in_a_process(start):
    process = start(*TOP, "--lrr", "1")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("error: unknown flag --lrr")
    assert err.count("\n") == 1


def test_nobody_reads_the_output(start):
    process = start(*TOP)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="has no /dev/full")
def test_full_stdout(start):
    """The run goes on, and its end tells."""
    with open("/dev/full", "w") as full:
        process = start(*TOP, "--log_file", "log.txt", stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.fullmatch(r"error: \d+ lines of the log could not be written to stdout: no space left on device\n", err)
    assert " END: " in Path("log.txt").read_text()
    assert Path("log/results.json").exists()


def test_closed_stdout(start):
    process = start(*TOP, "--log_file", "log.txt", preexec_fn=lambda: os.close(1))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.fullmatch(r"error: \d+ lines of the log could not be written to stdout: bad file descriptor\n", err)
    assert " END: " in Path("log.txt").read_text()


@pytest.mark.parametrize("kib", [1, 4, 12, 40])
def test_full_disk(start, kib):
    """A limit on the size of files stops the log, the predictions or the checkpoint, whichever is first too large."""
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (kib << 10, kib << 10))
    process = start(*TOP, "--log_file", "log.txt", "--model_path", "weights.pt", "--epoch", "9", preexec_fn=limit)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (2 if kib < 40 else 0), err
    assert re.fullmatch(r"(error: .*(cannot|could not) .*: file too large\n)?", err)
    assert not list(Path().rglob(".*.tmp"))
    for path in Path().glob("*.pt"):
        load_tensors(path)


def test_last_good_checkpoint_stays_on_a_full_disk(start, go):
    flags = [*TOP, "--model_name", "BPRMF", "--model_path", "weights.pt"]
    assert go(*flags)[0] == 0
    before = Path("weights.resume.pt").read_bytes()
    half = len(before) // 2
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (half, half))
    process = start(*flags, "--load", "1", "--epoch", "4", preexec_fn=limit)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (2, "error: cannot write weights.resume.pt: file too large\n")
    assert Path("weights.resume.pt").read_bytes() == before


def test_log_removed_during_the_run(start):
    process = start(*TOP, "--log_file", "logs/log.txt", "--model_path", "weights.pt", "--epoch", "20")
    for line in process.stdout:
        if line.startswith("Epoch 1 "):
            break
    shutil.rmtree("logs")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (2, "error: the log logs/log.txt was removed while the run wrote it\n")


@pytest.mark.parametrize("flag", ["--log_file", "--model_path"])
def test_what_is_no_file_is_refused_before_training(go, flag):
    os.mkfifo("pipe")
    status, out, err = go(*TOP, flag, "pipe")
    told = f"error: cannot write pipe: is a named pipe; {flag} or --out names another place\n"
    assert (status, out, err) == (2, "", told)


def test_help_is_grouped_and_shows_defaults(go):
    status, text, _ = go("--help")
    assert status == 0
    for part in ("start:", "global:", "data:", "training and evaluation:", "every model:", "ANS:", "(default: 0.001)"):
        assert part in text


def test_not_finite_loss(go, work: Path):
    status, _, err = go(*TOP, "--model_name", "BPRMF", "--lr", "1e38", "--optimizer", "SGD", "--epoch", "5")
    assert status == 2
    assert err.count("\n") == 1
    assert "the loss is not finite in epoch 1, batch " in err
    assert "no checkpoint was written before" in err


def test_not_finite_loss_names_terms_and_checkpoint(go, work: Path):
    here = ["--model_path", str(work / "weights.pt")]
    assert go(*TOP, *here)[0] == 0
    status, out, err = go(*TOP, *here, "--load", "1", "--epoch", "9", "--lr", "1e30")
    assert "Resumed with other flags: --lr 0.001 -> 1e+30" in out
    assert status == 2
    assert "(loss " in err
    assert "bpr " in err
    assert "weights.resume.pt holds epoch" in err


def test_user_who_clicked_everything(go, work: Path):
    path = work / "data/all/train.csv"
    everything = "\n".join(f"1\t{item}\t0" for item in range(1, 51))
    path.write_text(path.read_text() + everything + "\n")
    status, _, err = go(*TOP, "--dataset", "all", "--model_name", "BPRMF")
    assert status == 2
    assert "user 1 (" in err or "user 1 " in err
    assert "clicked every item" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("damage", ["truncated", "foreign", "empty", "other model"])
def test_damaged_checkpoints(go, work: Path, damage):
    import torch

    go(*TOP, "--model_name", "BPRMF")
    path = next((work / "model/BPRMF").glob("*.resume.pt"))
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-700])
    elif damage == "foreign":
        torch.save({"some": torch.zeros(3)}, path)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        go(*TOP, "--model_name", "LightGCN")
        path.write_bytes(next((work / "model/LightGCN").glob("*.resume.pt")).read_bytes())
    status, _, err = go(*TOP, "--model_name", "BPRMF", "--load", "1")
    assert status == 2
    assert err.count("\n") == 1
    assert path.name in err


@pytest.mark.parametrize(
    "flags",
    [
        "--lr 1e38",
        "--eps 1e38 --noise_scale 1e38",
        "--n_layers 1000",
        "--epoch 0",
        "--batch_size 2147483647 --eval_batch_size 2147483647 --topk 2147483647",
        "--gamma 1e38 --reg_weight 1e38 --l2 1e38",
        "--model_name NeuMF --dropout 1 --layers 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1",
        "--model_name FPMC --history_max 2147483647",
        "--model_name SLRCPlus --time_scalar 9007199254740992",
        "--model_name AutoCF --mask_depth 100 --n_seeds 2147483647 --keep_rate 1 --n_heads 8",
        "--model_name BPRMF --negative_sampling DENS --dens_warmup 2147483647 --dens_gamma 1e38",
    ],
)
def test_the_most_that_flags_take_is_a_run_or_a_line(go, flags):
    status, _, err = go(*TOP, "--epoch", "1", *flags.split())
    assert (status, err.count("\n")) in {(0, 0), (2, 1)}
    assert status == 0 or err.startswith("error: ")


def test_a_name_too_long_for_a_file_is_told(go):
    status, _, err = go(*TOP, "--model_name", "SLRCPlus", "--category_col", "x" * 400)
    assert (status, err.count("\n")) == (2, 1)
    assert "too long" in err
