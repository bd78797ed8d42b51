"""`python -m mimir`."""

from mimir import cli
from mimir.commands import SUMMARY, TREE

if __name__ == "__main__":
    cli.main("python -m mimir", SUMMARY, TREE)
