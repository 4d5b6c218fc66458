"""A run that is killed at any moment and resumed ends with the very weights of one that was not."""

from __future__ import annotations

import io
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from ans_fast.errors import UserError
from ans_fast.tensor_files import load_tensors, save_tensors

KILLS = int(os.environ.get("ANS_FAST_KILLS", "3"))  # of each of the two runs
RUN = (
    "--path ../data --dataset top --epoch 12 --early_stop 0 --batch_size 8 --emb_size 8 --save_final_results 0".split()
)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["weights"]


@pytest.mark.parametrize("flags", ["ANS --optimizer Adam --precision bf16", "BPRMF --optimizer Adagrad"])
def test_killed_runs_end_bit_equal(start, go, work: Path, flags):
    flags = ["--model_name", *flags.split(), *RUN]
    assert start(*flags, "--model_path", "whole.pt").wait(60) == 0
    rng = random.Random(0)
    for _ in range(KILLS):
        process = start(*flags, "--model_path", "killed.pt", "--load", str(int(Path("killed.resume.pt").exists())))
        for line in process.stdout:
            if line.startswith("Epoch "):
                break
        time.sleep(rng.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(*flags, "--model_path", "killed.pt", "--load", "1")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "Resume after epoch" in out
    whole, killed = weights(Path("whole.pt")), weights(Path("killed.pt"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


def test_resuming_twice_and_going_on(go, work: Path):
    flags = ["--model_name", "LightGCN", *RUN]
    go(*flags, "--model_path", "whole.pt")
    go(*flags, "--model_path", "parts.pt", "--epoch", "5")
    _, out, _ = go(*flags, "--model_path", "parts.pt", "--load", "1")
    assert "Resume after epoch 5 " in out
    assert "Epoch 6 " in out
    assert "Epoch 5 " not in out
    assert all(torch.equal(a, weights(Path("parts.pt"))[name]) for name, a in weights(Path("whole.pt")).items())
    _, out, _ = go(*flags, "--model_path", "parts.pt", "--load", "1")
    assert "Epoch " not in out.split("Resume after epoch 12")[1].replace("Test After", "")


def test_early_stop_counts_over_a_resume(go, work: Path):
    flags = ["--model_name", "BPRMF", *RUN, "--epoch", "60", "--early_stop", "4", "--lr", "0.02"]
    _, whole, _ = go(*flags, "--model_path", "whole.pt")
    stop = next(line for line in whole.splitlines() if line.startswith("Early stop at"))
    last = int(stop.split()[3])
    assert 4 < last < 60
    go(*flags, "--model_path", "parts.pt", "--epoch", str(last - 2))
    _, parts, _ = go(*flags, "--model_path", "parts.pt", "--load", "1")
    assert stop in parts
    assert [x.split("dev=")[1].split(" [")[0] for x in whole.splitlines() if x.startswith("Best")] == [
        x.split("dev=")[1].split(" [")[0] for x in parts.splitlines() if x.startswith("Best")
    ]


def test_ctrl_c_evaluates_the_best_weights(start, work: Path):
    process = start("--model_name", "BPRMF", *RUN, "--epoch", "100000")
    for line in process.stdout:
        if line.startswith("Epoch 3 "):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == ""
    assert "Early stop manually" in out
    assert "Best Iter(dev)=" in out
    assert "Test After Training: (" in out
    assert next((work / "log/BPRMF").glob("*/results.json")).exists()


def test_other_data_is_refused(go, work: Path):
    flags = ["--model_name", "BPRMF", *RUN, "--epoch", "2", "--model_path", "weights.pt"]
    assert go(*flags)[0] == 0
    path = work / "data/top/train.csv"
    path.write_text(path.read_text() + "1\t50\t7\n")
    for more, file in (([], "weights.resume.pt"), (["--train", "0"], "weights.pt")):
        status, _, err = go(*flags, "--load", "1", *more)
        assert status == 2
        assert err.startswith(f"error: {file} is of other data (fingerprint ")
        assert ", train 600 -> 601): " in err
        assert "users" not in err


def test_weights_without_a_fingerprint_load(go, work: Path):
    """ReChorus's files hold a state dict alone."""
    flags = ["--model_name", "BPRMF", *RUN, "--epoch", "2", "--model_path", "weights.pt"]
    _, out, _ = go(*flags)
    torch.save(weights(Path("weights.pt")), "weights.pt")
    status, again, _ = go(*flags, "--load", "1", "--train", "0")
    assert status == 0
    assert again.split("Test After Training")[1].split(")")[0] == out.split("Test After Training")[1].split(")")[0]


def test_loading_before_the_first_checkpoint_starts_anew(go, work: Path):
    flags = ["--model_name", "BPRMF", *RUN, "--epoch", "2"]
    status, out, _ = go(*flags, "--model_path", "weights.pt", "--load", "1")
    assert status == 0
    assert "Nothing to load: neither weights.resume.pt nor weights.pt exists; starts anew" in out
    go(*flags, "--model_path", "plain.pt")
    assert all(torch.equal(a, weights(Path("plain.pt"))[name]) for name, a in weights(Path("weights.pt")).items())


@pytest.mark.parametrize("kind", ["csv", "png", "empty", "zeros", "code"])
def test_what_holds_no_weights_is_told(go, work: Path, kind):
    content = {
        "csv": b"user_id,item_id\n1,2\n",
        "png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
        "empty": b"",
        "zeros": bytes(1000),
        "code": b"cos\nsystem\n(S'touch executed'\ntR.",
    }[kind]
    Path("weights.pt").write_bytes(content)
    status, _, err = go("--model_name", "BPRMF", *RUN, "--model_path", "weights.pt", "--load", "1", "--train", "0")
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("error: weights.pt is damaged or holds no weights")
    assert not Path("executed").exists()


@pytest.fixture
def checkpoint(go, work: Path) -> Path:
    assert go("--model_name", "BPRMF", *RUN, "--epoch", "2", "--model_path", "run.pt")[0] == 0
    return Path("run.resume.pt")


def test_every_flipped_bit_is_seen(checkpoint: Path):
    data, rng = bytearray(checkpoint.read_bytes()), random.Random(0)
    begin_of_seal = len(data) - 100
    spots = [rng.randrange(len(data)) for _ in range(300)] + list(range(begin_of_seal, len(data)))
    for spot in spots:
        bit = 1 << rng.randrange(8)
        data[spot] ^= bit
        checkpoint.write_bytes(data)
        with pytest.raises(UserError, match=r"run\.resume\.pt is damaged or holds no weights \("):
            load_tensors(checkpoint)
        data[spot] ^= bit


def test_mapped_files_are_read_and_checked_as_others(checkpoint: Path):
    whole, mapped = load_tensors(checkpoint)["weights"], load_tensors(checkpoint, mapped=True)["weights"]
    assert all(torch.equal(value, mapped[name]) for name, value in whole.items())
    torch.save(whole, "old.pt", _use_new_zipfile_serialization=False)
    assert load_tensors(Path("old.pt"), mapped=True).keys() == whole.keys()
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 1
    checkpoint.write_bytes(data)
    with pytest.raises(UserError, match="is damaged or holds no weights"):
        load_tensors(checkpoint, mapped=True)


def test_a_bad_entry_is_named(checkpoint: Path):
    data = bytearray(checkpoint.read_bytes())
    table = torch.load(checkpoint, weights_only=True)["weights"]["u_embeddings.weight"]
    data[data.index(table.numpy().tobytes()) + 5] ^= 1
    checkpoint.write_bytes(data)
    with pytest.raises(UserError, match=r"the checksum of its entry \S+/data/\d+ is wrong"):
        load_tensors(checkpoint)


def entries(content: object, at: tuple = ()) -> list[tuple]:
    """The places of all tensors and numbers of a checkpoint."""
    if isinstance(content, dict | list):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        return [place for key, value in pairs for place in entries(value, (*at, key))]
    return [at] if isinstance(content, torch.Tensor | float) else []


SPOILT = {
    "size": lambda value: torch.zeros(3, 3) if isinstance(value, torch.Tensor) else [value],
    "nan": lambda value: value * float("nan") if isinstance(value, torch.Tensor) else "nan",
    "dtype": lambda value: value.to(torch.complex64) if isinstance(value, torch.Tensor) else 1j,
    "kind": lambda value: "text",
}


@pytest.mark.parametrize("optimizer", ["Adam", "Adagrad"])
@pytest.mark.parametrize("how", SPOILT)
def test_every_entry_of_a_checkpoint_is_checked(go, work: Path, how, optimizer):
    """Spoilt and sealed again, as no disk does: what does not fit is refused, not trained with."""
    flags = ["--model_name", "BPRMF", *RUN, "--epoch", "1", "--model_path", "run.pt", "--optimizer", optimizer]
    assert go(*flags)[0] == 0
    path = Path("run.resume.pt")
    whole = path.read_bytes()
    for *above, last in entries(load_tensors(path)):
        content = torch.load(io.BytesIO(whole), weights_only=True)
        parent = content
        for key in above:
            parent = parent[key]
        if above[:1] == ["flags"]:
            continue  # differing flags are told and allowed
        parent[last] = SPOILT[how](parent[last])
        save_tensors(path, content)
        status, _, err = go(*flags, "--load", "1", "--epoch", "2")
        assert (status, err.count("\n")) == (2, 1), (above, last)
        assert "run.resume.pt" in err


@pytest.mark.parametrize("value", [[], "text", {"users": torch.zeros(3)}, {"users": []}])
def test_forged_facts_are_told(go, work: Path, value):
    """Of flags and data, which are compared and shown."""
    flags = ["--model_name", "BPRMF", *RUN, "--epoch", "1", "--model_path", "run.pt"]
    assert go(*flags)[0] == 0
    for name, part, more in (
        ("run.resume.pt", "flags", ["--epoch", "2"]),
        ("run.resume.pt", "data", ["--epoch", "2"]),
        ("run.pt", "data", ["--train", "0"]),
    ):
        content = load_tensors(Path(name))
        save_tensors(Path(name), {**content, part: value})
        status, _, err = go(*flags, "--load", "1", *more)
        assert (status, err.count("\n")) == (2, 1)
        assert f"{name}: {part} must hold numbers and texts by name" in err
        save_tensors(Path(name), content)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int64, torch.complex64])
def test_weights_of_another_dtype_are_refused(go, work: Path, dtype):
    flags = ["--model_name", "BPRMF", *RUN, "--epoch", "1", "--model_path", "run.pt"]
    assert go(*flags)[0] == 0
    content = load_tensors(Path("run.pt"))
    changed = {name: value.to(dtype) for name, value in content["weights"].items()}
    save_tensors(Path("run.pt"), {**content, "weights": changed})
    status, _, err = go(*flags, "--load", "1", "--train", "0")
    assert (status, err.count("\n")) == (2, 1)
    assert "run.pt: weights.u_embeddings.weight must be [" in err
    assert f"of torch.float32, got [61, 8] of {dtype}" in err
