"""`python -m tests.distributed.fitting SEED`: a program that joins a group by itself and fits a model there."""

from __future__ import annotations

import json
import sys

import torch
import torch.distributed as dist

from ans_fast import models
from tests.conftest import random_graph


def losses_of(seed: int) -> list[float]:
    torch.manual_seed(seed)
    model = models.LightGCN(random_graph(40, 50, 300), emb_size=8)
    return model.fit(epochs=3, batch_size=64, lr=0.01)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    try:
        print(json.dumps(losses_of(int(sys.argv[1]))))
    finally:
        dist.destroy_process_group()
