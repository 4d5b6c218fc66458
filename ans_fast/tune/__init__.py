"""A search for a model's best flags on dev: `python -m ans_fast.tune`."""
