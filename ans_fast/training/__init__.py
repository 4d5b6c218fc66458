"""Training: rows to batches, batches to steps, steps to epochs.

Of a model it knows its parameters, `draw`, `loss`, `seed_count` and `begin_epoch`; models know it, for their `fit`.
"""
