"""What a commit on a file store costs in two revisions, measured in turns.

    python -m bench.commits                              39ed874 and this checkout
    python -m bench.commits --one v0.1 --other ../mimir --folder /mnt/shared

Each revision works in a process of its own, on stores in the same folder. They take turns, block by
block, and who goes first changes, so that a busy machine slows both alike. A block is a number of
commits: a checkpoint of some size, then one swap of HEAD; or, for `swap`, the swap alone.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.compare_revisions import ROOT, Impossible, tree_of
from mimir import cli
from mimir.errors import BadInput

BASE = "39ed874"
"""The last revision whose file store took locks."""
KINDS = {"commit": 1 << 20, "swap": 0}
"""Bytes of the checkpoint in each kind of block."""
Took = tuple[float, float]
"""Seconds of the clock, and of the processor, for a block."""


def _work(folder: str) -> None:
    """A process of one revision: for each line "KIND COMMITS" it prints what they took."""
    from dataclasses import replace

    from mimir.runs.commit import Attempt
    from mimir.runs.head import Head
    from mimir.runs.layout import head_key
    from mimir.runs.store import open_store

    try:
        from mimir.runs.begin import raise_attempt
    except ImportError:  # of the older revision
        from mimir.runs.commit import raise_attempt  # type: ignore[attr-defined, no-redef]

    store = open_store(Path(folder).as_uri())
    store.put_if_absent(head_key("bench"), Head(run="bench").to_bytes())
    attempt = Attempt.claim(store, "bench", raise_attempt(store, "bench"))
    step = 0

    def advanced(head: Head) -> Head:
        return replace(head, step=step)

    print("ready", flush=True)
    for line in sys.stdin:
        kind, count = line.split()
        content = bytes(KINDS[kind])
        began = time.perf_counter(), time.process_time()
        for _ in range(int(count)):
            step += 1
            if content:
                attempt.commit(step, content, None)
            else:
                attempt._register.swap(advanced)
        took = time.perf_counter() - began[0], time.process_time() - began[1]
        print(json.dumps(took), flush=True)


class Side:
    """One revision's process."""

    def __init__(self, tree: Path, folder: Path) -> None:
        # Run as a script with the tree's own modules: an older tree has no such module.
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--work", str(folder)], cwd=tree,
            env={"PYTHONPATH": str(tree), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._read()

    def block(self, kind: str, count: int) -> Took:
        """What so many commits took."""
        assert self._process.stdin is not None
        print(kind, count, file=self._process.stdin, flush=True)
        wall, cpu = json.loads(self._read())
        return wall, cpu

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BadInput("a revision's process has ended: its message stands above")
        return line


def measure(
    *,
    one: str = BASE,
    other: str = str(ROOT),
    folder: str = "",
    blocks: int = 15,
    commits: int = 20,
) -> None:
    """Measure commits and swaps of two revisions in turns; print ratios of the second to the first.

    Args:
        one: a git revision, or the folder of a checkout.
        other: the same.
        folder: where the stores are to lie (default: the folder for temporary files).
        blocks: of each kind and revision; the first of each is not counted.
        commits: in a block.

    Example:
        python -m bench.commits --folder /dev/shm
    """
    if blocks < 2 or commits < 1:
        raise BadInput("--blocks must be at least 2, --commits at least 1")
    scratch = Path(tempfile.mkdtemp(prefix="mimir-commits-", dir=folder or None))
    sides: list[Side] = []
    try:
        for word in (one, other):
            sides.append(Side(tree_of(word, scratch).folder, scratch / f"store{len(sides)}"))
        for kind in KINDS:
            took: tuple[list[Took], list[Took]] = ([], [])
            for block in range(blocks):
                for which in (0, 1) if block % 2 else (1, 0):
                    took[which].append(sides[which].block(kind, commits))
            _show(kind, commits, took[0][1:], took[1][1:])
    except Impossible as error:
        raise BadInput(str(error)) from error
    finally:
        for side in sides:
            side.end()
        shutil.rmtree(scratch, ignore_errors=True)


def _show(kind: str, commits: int, one: list[Took], other: list[Took]) -> None:
    for index, what in enumerate(("clock", "processor")):
        ratios = sorted(b[index] / a[index] for a, b in zip(one, other, strict=True))
        each = [statistics.median(t[index] for t in side) / commits * 1000 for side in (one, other)]
        print(
            f"{kind:6} {what:9} {each[0]:7.2f} ms and {each[1]:7.2f} ms, ratio "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}, "
            f"{len(ratios)} blocks)"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        _work(sys.argv[2])
    else:
        cli.run("python -m bench.commits", measure)
