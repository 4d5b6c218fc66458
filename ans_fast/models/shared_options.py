"""Options that several models have."""

from __future__ import annotations

from ans_fast.flag_types import Choice, layers, share, size
from ans_fast.nn.encoders import PRECISIONS
from ans_fast.options import Option

EMB_SIZE = Option(size, 64, "size of the embedding vectors")
N_LAYERS = Option(layers, 3, "graph convolution layers; 0 is matrix factorisation")
PRECISION = Option(
    Choice(tuple(PRECISIONS)),
    "float32",
    "what nodes' vectors and ANS's gate logits are stored in between the weights and the loss; bf16 is half the bytes, "
    "which on the CPU saves time with AVX-512 alone, and none for BPRMF",
    names_runs=True,
)
DROPOUT = Option(share, 0, "dropout of deep layers, where the model has any")
