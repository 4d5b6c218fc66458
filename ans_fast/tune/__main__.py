"""`python -m ans_fast.tune`: the flags that do best on dev."""

from ans_fast.command_line import start

if __name__ == "__main__":
    start("ans_fast.tune.command")
