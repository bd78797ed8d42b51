"""What an attempt's start takes until its first step and first commit, part by part.

    python -m bench.start_up                                  this checkout
    python -m bench.start_up --one HEAD~3 --presets small     beside another revision

Each start is a process of its own, as the worker begins it, on a CPU, with a file store in a
temporary folder that holds a fresh run. Revisions take turns, and who goes first changes, so that a
busy machine slows both alike; what such a machine says is the processor's time, not the clock's.
What only a rented machine has (boot, image, installation, a GPU's compilation) is not in here: its
attempts say themselves what they took ("ready to train after …").
"""

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import results
from bench.checkouts import ROOT, Tree, environment, tree_of
from mimir import cli
from mimir.errors import BadInput, MimirError
from mimir.runs.begin import raise_attempt
from mimir.runs.store import open_store
from mimir.submission import Job, enter, prepare

ATTEMPT = """
import json, os, resource, sys, time
def told(part):
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    parts.append((part, time.time() - began, sum(u.ru_utime + u.ru_stime for u in used)))
began, parts = float(sys.argv[1]), []
from mimir.worker import attempt
told("Python and its modules")

class StartTimes(attempt.StartTimes):
    def ended(self, part):
        super().ended(part)
        told(part)

class Loop(attempt.Loop):
    def _boundary(self):
        told("the first step")
        self.committer.drain(600)
        told("the first commit")
        print(json.dumps(parts), flush=True)
        os._exit(0)

attempt.StartTimes, attempt.Loop = StartTimes, Loop
sys.exit(attempt.main(sys.argv[2:]))
"""
"""An attempt that ends behind its first commit and prints (part, seconds of the clock, of the
processor) since its process began."""
WORKER = "import mimir.worker.supervisor"
"""What the process that watches over the attempt imports before it can start it."""

Took = dict[str, tuple[float, float]]
"""Part -> seconds of the clock, and of the processor."""


def measure(
    *,
    one: str = "",
    other: str = str(ROOT),
    presets: str = "smoke,small",
    data: str = "",
    times: int = 7,
    out: str = str(results.FOLDER),
) -> None:
    """Measure the start of an attempt, of one revision or of two in turns.

    Args:
        one: a git revision, or the folder of a checkout, to measure beside `other`.
        other: the same.
        presets: names, with commas.
        data: a CSV or a packed data set (default: the sample that ships with Mimir).
        times: of each preset and revision; the first of each is not counted.
        out: folder for the result file.

    Example:
        python -m bench.start_up --one HEAD~1 --presets small
    """
    import torch  # only for the machine's description

    if times < 2:
        raise BadInput(f"--times is {times}, but must be at least 2")
    load = results.load_average()
    scratch = Path(tempfile.mkdtemp(prefix="mimir-start-"))
    try:
        trees = [tree_of(word, scratch) for word in (one, other) if word]
        jobs = {each: prepare(each, {"device": "cpu"}, data) for each in presets.split(",")}
        took: dict[tuple[str, str], list[Took]] = {}
        for turn in range(times):
            for preset, job in jobs.items():
                for tree in trees if turn % 2 else trees[::-1]:
                    found = _start(tree, job, scratch)
                    if turn:
                        took.setdefault((preset, tree.title), []).append(found)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    shown = [
        {"preset": preset, "revision": title, **_figures(rows)}
        for (preset, title), rows in took.items()
    ]
    for each in shown:
        _show(each)
    machine = results.machine(torch.device("cpu"), torch.get_num_threads())
    body = {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine,
            "load_average": load, "times": times - 1, "data": data or "the sample",
            "starts": shown}  # fmt: skip
    print(f"load before: {load}; written to {results.save(body, Path(out), 'start-up')}")


def _start(tree: Tree, job: Job, scratch: Path) -> Took:
    """One start, and before it that of the process which watches over it."""
    folder = Path(tempfile.mkdtemp(dir=scratch, prefix="store-"))
    store = open_store(folder.as_uri())
    enter(store, "start", job)
    number = raise_attempt(store, "start")
    words = ("--store", store.url, "--run", "start", "--attempt", str(number))
    before, began = _children(), time.time()
    _python(tree, WORKER)
    took = {"the worker": (time.time() - began, _children() - before)}
    lines = _python(tree, ATTEMPT, str(time.time()), *words).splitlines()
    clock = processor = 0.0
    for part, at, used in json.loads(lines[-1]):
        took[part] = at - clock, used - processor
        clock, processor = at, used
    shutil.rmtree(folder)
    return took


def _python(tree: Tree, program: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=tree.folder, env=environment(tree),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise MimirError(f"an attempt of {tree.title} ended: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _figures(rows: Sequence[Took]) -> dict[str, Any]:
    """Medians of each part, and of the sum, in seconds."""
    total = [
        (sum(clock for clock, _ in row.values()), sum(cpu for _, cpu in row.values()))
        for row in rows
    ]

    def median(values: Sequence[tuple[float, float]]) -> list[float]:
        return [round(statistics.median(each), 3) for each in zip(*values, strict=True)]

    parts = {part: median([row[part] for row in rows]) for part in rows[0]}
    return {"clock_and_processor_s": {**parts, "in all": median(total)}}


def _show(each: dict[str, Any]) -> None:
    print(f"{each['preset']} of {each['revision']}: seconds of the clock, and of the processor")
    for part, (clock, processor) in each["clock_and_processor_s"].items():
        print(f"  {part:<26} {clock:8.2f} {processor:8.2f}")


if __name__ == "__main__":
    cli.run("python -m bench.start_up", measure)
