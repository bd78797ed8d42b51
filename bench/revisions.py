"""Step times of two checkouts on one machine, interleaved: `python -m bench.revisions ../before`.

Each checkout trains in a process of its own, with its own modules. The two take their blocks in
turn, so that what else goes on in the machine falls on both.
"""

import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.checkouts import ROOT, Process, tree_of
from mimir import cli
from mimir.errors import BadInput

TRAINER = """
import json, sys, time
from pathlib import Path
from mimir.data.pack import load
from mimir.submission import prepare
from mimir.training.assemble import assemble
from mimir.training.device import synchronize

preset, device, data, warm_up = *sys.argv[1:4], int(sys.argv[4])
job = prepare(preset, {"device": device}, data)
engine = assemble(job.config, load(job.data))

def advance(steps):
    goal = engine.step + steps
    while engine.step < goal:
        engine.advance(goal - engine.step)
    synchronize(engine.machine.device)

for steps in (warm_up, 1):  # on a GPU an epoch's last steps are captured by themselves
    advance(steps)
began, _ = time.perf_counter(), advance(warm_up)
print(json.dumps((time.perf_counter() - began) / warm_up), flush=True)
for line in sys.stdin:
    began, steps = time.perf_counter(), int(line)
    advance(steps)
    print(json.dumps((time.perf_counter() - began) / steps), flush=True)
"""
"""Prints seconds a step after its warm-up, then for each number of steps that it reads."""
WARM_UP, GPU_WARM_UP = 2, 64


def main(
    before: str, *, after: str = "", presets: str = "large,medium,small", blocks: int = 5,
    seconds_per_block: float = 1.0, device: str = "auto", data: str = "", out: str = "",
) -> None:  # fmt: skip
    """Measure the training step of two checkouts, in alternating blocks.

    Args:
        before: the one checkout: its folder, or a git revision.
        after: the other (default: this one).
        presets: names, with commas between.
        blocks: timed blocks of each.
        seconds_per_block: about how long a block lasts.
        device: auto, cpu or cuda.
        data: a CSV or a packed data set (default: the shipped sample).
        out: folder for the result (default: bench/results).

    Example:
        python -m bench.revisions ../before --presets large
    """
    import torch

    from bench import results
    from mimir.training.device import usable

    began = time.monotonic()
    if blocks < 1:
        raise BadInput(f"blocks is {blocks}, but must be at least 1")
    kind = "cuda" if device != "cpu" and usable() else "cpu"
    given = str(Path(data).resolve()) if data else ""
    names = [name.strip() for name in presets.split(",") if name.strip()]
    warm_up = str(WARM_UP if kind == "cpu" else GPU_WARM_UP)
    scratch, pairs = Path(tempfile.mkdtemp(prefix="mimir-revisions-")), []
    try:
        trees = [tree_of(word, scratch) for word in (before, after or str(ROOT))]
        for tree in trees:
            if not (tree.folder / "mimir" / "training").is_dir():
                raise BadInput(f"{tree.title} has no mimir/training: it is too old; give another")
        # All begin at once: most of that is compilation, which leaves the GPU alone.
        for name in names:
            words = ("-c", TRAINER, name, kind, given, warm_up)
            pairs.append([Process(tree, *words) for tree in trees])
        speeds = [[trainer.answer() for trainer in pair] for pair in pairs]
        print(f"all trainers began after {time.monotonic() - began:.0f} s", flush=True)
        whole = 1 if kind == "cpu" else GPU_WARM_UP
        found = {
            name: _blocks(name, pair, [
                whole * max(1, round(seconds_per_block / each / whole)) for each in speed
            ], blocks)
            for name, pair, speed in zip(names, pairs, speeds, strict=True)
        }  # fmt: skip
    finally:
        for trainer in (trainer for pair in pairs for trainer in pair):
            trainer.end()
        shutil.rmtree(scratch, ignore_errors=True)
    machine = results.machine(torch.device(kind), torch.get_num_threads())
    result = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine,
        "trees": [tree.title for tree in trees],
        "data": Path(data).name if data else "sample",
        "presets": found,
    }
    folder = Path(out) if out else results.FOLDER
    path = results.named(folder, "revisions", machine["gpu"] or machine["cpu"], ".json")
    results.write(path, results.short_lists(json.dumps(result, indent=1) + "\n"))
    print(f"written to {path}")


def _blocks(name: str, pair: list[Process], steps: list[int], blocks: int) -> dict[str, Any]:
    times: list[list[float]] = [[], []]
    for _ in range(blocks):
        for trainer, count, taken in zip(pair, steps, times, strict=True):
            taken.append(trainer.ask(str(count)) * 1e3)
    ratios = [before / after for before, after in zip(*times, strict=True)]
    medians = [statistics.median(each) for each in times]
    print(
        f"{name}: before {medians[0]:.4f} ms a step ({min(times[0]):.4f} to {max(times[0]):.4f}), "
        f"after {medians[1]:.4f} ({min(times[1]):.4f} to {max(times[1]):.4f}): "
        f"x{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
        flush=True,
    )
    return {
        "before_ms": [round(each, 4) for each in times[0]],
        "after_ms": [round(each, 4) for each in times[1]],
        "medians_ms": [round(each, 4) for each in medians],
        "ratio": round(statistics.median(ratios), 4),
    }


if __name__ == "__main__":
    cli.run("python -m bench.revisions", main)
