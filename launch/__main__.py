"""`python -m launch`, and the console script `mimir`, which has the commands of both packages."""

from launch.commands import SUMMARY, TREE
from mimir import cli

BOTH = ("resume",)
"""Commands of both packages, of which the script has the launcher's. What `python -m mimir resume`
does, to go on in this terminal, is `mimir train --run-name NAME` there."""


def mimir() -> None:
    """`mimir`: each command of `python -m launch` and of `python -m mimir`."""
    from mimir import commands

    own = {name: found for name, found in commands.TREE.items() if name not in BOTH}
    cli.main("mimir", commands.SUMMARY, {**TREE, **own})


if __name__ == "__main__":
    cli.main("python -m launch", SUMMARY, TREE)
