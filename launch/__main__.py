"""`python -m launch`, and the console script `mimir`, which has the commands of both packages.

The script runs its command here, or with `--on LOGIN` before it on a cluster's login node.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.cluster import RECEIVES
from launch.commands import SUMMARY, TREE
from mimir import cli
from mimir.errors import BadInput

BOTH = ("resume",)
"""Commands of both packages, of which the script has the launcher's. What `python -m mimir resume`
does, to go on in this terminal, is `mimir train NAME` there."""
_ELSEWHERE = ("--on", "--via")
_ABOUT = """

`mimir --on [USER@]HOST[:PORT] COMMAND …` runs it on that login node of a cluster, by SSH, and shows
here what it prints; --via HOST: through this host (docs/guides/cluster.md)."""


def mimir() -> None:
    """`mimir`: each command of `python -m launch` and of `python -m mimir`."""
    words = sys.argv[1:]
    if words and words[0].partition("=")[0] in _ELSEWHERE:
        cli.end_with("mimir", lambda: _elsewhere(words))
    from mimir import commands

    own = {name: found for name, found in commands.TREE.items() if name not in BOTH}
    cli.main("mimir", commands.SUMMARY + _ABOUT, {**TREE, **own},
             _received if words == [RECEIVES] else words)  # fmt: skip


def _elsewhere(words: Sequence[str]) -> int:
    said: dict[str, str] = {}
    left = [*words]
    while left and left[0].partition("=")[0] in _ELSEWHERE:
        name, equals, value = left.pop(0).partition("=")
        if name in said:
            raise BadInput(f"{name} is given twice")
        if not equals:
            value = left.pop(0) if left and not left[0].startswith("-") else ""
        if not value:
            raise BadInput(f"{name} needs a host: `mimir --on [USER@]HOST[:PORT] COMMAND …`")
        said[name] = value
    if "--on" not in said:
        raise BadInput("--via is for --on: `mimir --on [USER@]HOST[:PORT] --via HOST COMMAND …`")
    if not left:
        raise BadInput("what shall run there? `mimir --on [USER@]HOST[:PORT] COMMAND …`")
    from launch.cluster import login, remote

    with login.connect(login.Login.parse(said["--on"]), said.get("--via", "")) as connection:
        return remote.run(connection, left, terminal=remote.has_terminal())


def _received() -> list[str]:
    """The words from the other side; the store is the one that `cluster setup` was told."""
    from launch.cluster import remote  # help and version stay without what SSH needs

    words, kept = remote.receive(), Path.home() / remote.STORE
    try:
        if kept.is_file():
            os.environ.setdefault("MIMIR_STORE", kept.read_text(encoding="utf-8").strip())
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{kept} cannot be read ({error}): `mimir cluster setup LOGIN --store URL` writes it"
        ) from None
    return words


if __name__ == "__main__":
    cli.main("python -m launch", SUMMARY, TREE)
