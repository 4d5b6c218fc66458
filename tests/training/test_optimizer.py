"""Our Adam is torch's, to the bit."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from ans_fast.training.optimizer import Adam


def groups(seed: int = 0) -> list[dict]:
    """Two groups; the second parameter of the first never gets a gradient."""
    generator = torch.Generator().manual_seed(seed)
    tables = [torch.randn(*shape, generator=generator, requires_grad=True) for shape in ((7, 5), (3,), (1, 4))]
    return [{"params": tables[:2], "weight_decay": 0.01}, {"params": tables[2:], "weight_decay": 0.0}]


def train(optimizer, steps: range) -> list[torch.Tensor]:
    used = [group["params"][0] for group in optimizer.param_groups]
    for step in steps:
        optimizer.zero_grad()
        sum((p.sin() * (step + 1)).sum() for p in used).backward()
        optimizer.step()
    return [p.detach() for group in optimizer.param_groups for p in group["params"]]


def test_updates_are_torchs():
    ours, theirs = Adam(groups(), lr=0.1), torch.optim.Adam(groups(), lr=0.1, fused=True)
    assert all(map(torch.equal, train(ours, range(5)), train(theirs, range(5))))
    ours.zero_grad()
    assert ours.param_groups[0]["params"][0].grad is None


@pytest.mark.parametrize("source", [Adam, torch.optim.Adam])
@pytest.mark.parametrize("target", [Adam, torch.optim.Adam])
def test_state_dicts_are_torchs(source, target):
    whole = train(Adam(groups(), lr=0.1), range(6))
    first = source(groups(), lr=0.1, **{"fused": True} if source is torch.optim.Adam else {})
    halfway = train(first, range(3))
    second = target(
        [{**group, "params": parts} for group, parts in zip(groups(), (halfway[:2], halfway[2:]), strict=True)],
        lr=0.5,  # the state's holds
        **{"fused": True} if target is torch.optim.Adam else {},
    )
    for group in second.param_groups:
        for parameter in group["params"]:
            parameter.requires_grad_()
    second.load_state_dict(first.state_dict())
    assert all(map(torch.equal, train(second, range(3, 6)), whole))


def test_state_of_other_parameters_is_refused():
    optimizer = Adam(groups(), lr=0.1)
    train(optimizer, range(1))
    other = Adam([{"params": [torch.zeros(2, 2)], "weight_decay": 0.0}], lr=0.1)
    with pytest.raises(ValueError, match="other parameters"):
        other.load_state_dict(optimizer.state_dict())


def test_training_imports_nothing_slow_that_it_can_do_without():
    code = (
        "import sys, numpy, ans_fast, ans_fast.runner.main; users, items = numpy.arange(4), numpy.arange(4);"
        "ans_fast.models.ANS(ans_fast.BipartiteGraph(users, items, 4, 4), emb_size=4).fit(epochs=1);"
        "print(*{'torch._dynamo', 'pandas', 'scipy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
