"""ANS as a model of RecBole 1.2: after `import ans_fast.recbole`, `run_recbole(model="ANS")` trains it on our kernels.

The models are "ANS", on LightGCN, and "ANSBPRMF", "ANSNGCF" and "ANSSGL" on the other encoders. They take the published
class's settings (embedding_size, n_layers, reg_weight, require_pow, eps, gamma, and train_neg_sample_args' sample_num),
further noise_scale, gate, predict_with and precision of `ans_fast.models.ANS`, and run in RecBole's trainer and
evaluation. Negatives of all models are drawn by our sampler meanwhile, where RecBole's own takes most of an epoch.

The import also makes RecBole 1.2 run on today's NumPy, SciPy, pandas and torch (see `shims`).
"""

from __future__ import annotations

from ans_fast.recbole import shims

shims.apply()

from ans_fast.recbole import models, sampler  # noqa: E402 (RecBole's modules load once the shims are there)

models.register()
sampler.use()
ANS, ANSBPRMF, ANSNGCF, ANSSGL = models.MODELS

__all__ = ["ANS", "ANSBPRMF", "ANSNGCF", "ANSSGL"]
