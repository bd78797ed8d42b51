"""`python -m launch`."""

from launch.commands import SUMMARY, TREE
from mimir import cli

if __name__ == "__main__":
    cli.main("python -m launch", SUMMARY, TREE)
