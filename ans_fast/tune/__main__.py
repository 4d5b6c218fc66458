"""`python -m ans_fast.tune`: the flags that do best on dev."""

from ans_fast.command_line import start
from ans_fast.run import prepare_process

if __name__ == "__main__":
    prepare_process()
    start("ans_fast.tune.command")
