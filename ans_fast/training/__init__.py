"""Training: rows to batches, batches to steps, steps to epochs.

Of a model it knows its parameters and which of them decay, `draw`, `loss`, `seed_count`, `begin_epoch` and whether it
`captures`; models know it, for their `fit`.
"""
