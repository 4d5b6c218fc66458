"""The ReChorus-compatible runner behind `python -m ans_fast.run`."""
