"""Who the negatives are: drawn without looking at vectors (`Uniform`, `Popularity`), or the hardest of several uniform
candidates (`DNS`, `MixGCF`, `DENS`)."""

from __future__ import annotations

from ans_fast.sampling.dens import DENS
from ans_fast.sampling.dns import DNS
from ans_fast.sampling.mixgcf import MixGCF
from ans_fast.sampling.popularity import Popularity
from ans_fast.sampling.uniform import Uniform

__all__ = ["DENS", "DNS", "MixGCF", "Popularity", "Uniform"]
