"""What a commit on a file store costs in two revisions, measured in turns.

    python -m bench.commits                              39ed874 and this checkout
    python -m bench.commits --one v0.1 --other ../mimir --folder /mnt/shared

Each revision works in a process of its own, on stores in the same folder. They take turns, block by
block, and who goes first changes, so that a busy machine slows both alike. A block is a number of
commits: a checkpoint of some size, then one swap of HEAD; or, for `swap`, the swap alone.
"""

import shutil
import statistics
import tempfile
from pathlib import Path

from bench.checkouts import ROOT, Process, tree_of
from mimir import cli
from mimir.errors import BadInput

BASE = "39ed874"
"""The last revision whose file store took locks."""
KINDS = {"commit": 1 << 20, "swap": 0}
"""Bytes of the checkpoint in each kind of block."""
WORKER = """
import json, sys, time
from dataclasses import replace
from pathlib import Path
from mimir.runs.commit import Attempt
from mimir.runs.head import Head
from mimir.runs.layout import head_key
from mimir.runs.store import open_store
try:
    from mimir.runs.begin import raise_attempt
except ImportError:  # of an older revision
    from mimir.runs.commit import raise_attempt

store = open_store(Path(sys.argv[1]).as_uri())
store.put_if_absent(head_key("bench"), Head(run="bench").to_bytes())
attempt = Attempt.claim(store, "bench", raise_attempt(store, "bench"))
step = 0
print("true", flush=True)
for line in sys.stdin:
    size, count = map(int, line.split())
    content = bytes(size)
    began = time.perf_counter(), time.process_time()
    for _ in range(count):
        step += 1
        if content:
            attempt.commit(step, content, None)
        else:
            attempt._register.swap(lambda head: replace(head, reason=str(step)))
    took = time.perf_counter() - began[0], time.process_time() - began[1]
    print(json.dumps(took), flush=True)
"""
"""For each line "BYTES COMMITS" it prints what so many commits took; at first true."""
Took = tuple[float, float]
"""Seconds of the clock, and of the processor, for a block."""


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
    sides: list[Process] = []
    try:
        for word in (one, other):
            store = str(scratch / f"store{len(sides)}")
            sides.append(Process(tree_of(word, scratch), "-c", WORKER, store))
            sides[-1].answer()
        for kind, size in KINDS.items():
            took: tuple[list[Took], list[Took]] = ([], [])
            for block in range(blocks):
                for which in (0, 1) if block % 2 else (1, 0):
                    took[which].append(sides[which].ask(f"{size} {commits}"))
            _show(kind, commits, took[0][1:], took[1][1:])
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
    cli.run("python -m bench.commits", measure)
