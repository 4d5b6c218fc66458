"""`python -m ans_fast.compare`: models, data sets and seeds into one table."""

from ans_fast.command_line import start

if __name__ == "__main__":
    start("ans_fast.compare.command")
