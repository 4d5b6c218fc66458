"""`python -m ans_fast.data`: prepare original downloads, convert other tools' files, describe a data set."""

from ans_fast.command_line import start

if __name__ == "__main__":
    start("ans_fast.data.command")
