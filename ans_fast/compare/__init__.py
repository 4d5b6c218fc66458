"""`python -m ans_fast.compare`: models, data sets and seeds into one table."""
