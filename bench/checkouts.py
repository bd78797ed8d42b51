"""Checkouts of Mimir that are measured or compared beside each other, in processes of their own."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimir.errors import BadInput, MimirError

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Tree:
    """A checkout: what to call it, and its folder."""

    title: str
    folder: Path


def tree_of(word: str, scratch: Path) -> Tree:
    """The checkout that a word means: a folder, else a git revision of this repository.

    Args:
        scratch: a folder; a revision is unpacked there.

    Raises:
        BadInput: it is neither.
    """
    folder = Path(word).expanduser()
    if folder.is_dir():
        if not (folder / "launch" / "__main__.py").exists():
            raise BadInput(f"folder {word} holds no checkout of Mimir: it has no launch/")
        return Tree(folder.resolve().name, folder.resolve())
    shown = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{word}^{{commit}}"], cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if shown.returncode:
        raise BadInput(f"{word!r} is neither a folder nor a git revision of {ROOT}")
    place = Path(tempfile.mkdtemp(dir=scratch, prefix="tree-"))
    packed = subprocess.run(
        ["git", "archive", shown.stdout.strip()], cwd=ROOT, capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", str(place)], input=packed.stdout, check=True)
    return Tree(word, place)


def environment(tree: Tree) -> dict[str, str]:
    """This process's, with the tree's modules in place of this checkout's."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    others = [path for path in given if path and Path(path).resolve() != ROOT]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree.folder), *others])}


class Process:
    """A Python of one checkout, which answers each line with a line of JSON."""

    def __init__(self, tree: Tree, *words: str) -> None:
        self._tree = tree
        self._process = subprocess.Popen(
            [sys.executable, *words], cwd=tree.folder, env=environment(tree), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def answer(self) -> Any:
        """Its next line.

        Raises:
            MimirError: it has ended; its own words are on stderr.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise MimirError(f"the process of {self._tree.title} ended; its own words are above")
        return json.loads(line)

    def ask(self, line: str) -> Any:
        """Its answer to a line; raises as `answer`."""
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
        return self.answer()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()
