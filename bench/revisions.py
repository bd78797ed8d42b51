"""Step times of two checkouts on one machine, interleaved: `python -m bench.revisions ../before`.

Each checkout trains in a process of its own, with its own modules. The two take their blocks in
turn, so that what else goes on in the machine falls on both. On a CPU the processor's time is
compared as well: on a busy machine the clock tells more of the others than of the two.
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
job = prepare(preset, {"device": device, **json.loads(sys.argv[5])}, data)
engine = assemble(job.config, load(job.data))

def advance(steps):
    goal = engine.step + steps
    while engine.step < goal:
        engine.advance(goal - engine.step)
    synchronize(engine.machine.device)

for steps in (warm_up, 1):  # on a GPU an epoch's last steps are captured by themselves
    advance(steps)

def timed(steps):
    began, used = time.perf_counter(), time.process_time()
    advance(steps)
    spent = time.perf_counter() - began, time.process_time() - used
    print(json.dumps([each / steps for each in spent]), flush=True)

timed(warm_up)
for line in sys.stdin:
    timed(int(line))
"""
"""Prints seconds a step by the clock and of the processor, after its warm-up, then for each number
of steps that it reads."""
WARM_UP, GPU_WARM_UP = 2, 64


def main(
    before: str, *, after: str = "", presets: str = "large,medium,small", blocks: int = 5,
    seconds_per_block: float = 1.0, device: str = "auto", data: str = "", out: str = "",
    threads: int = 0, settings: str = "",
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
        threads: of each, on a CPU (default: as many as there are cores). On a busy machine two
            threads wait for each other, and waiting counts as the processor's time.
        settings: of `after` alone, as name=value with commas between: what makes its batches those
            of an older checkout, which does not know these settings.

    Example:
        python -m bench.revisions ../before --presets large
    """
    import torch

    from bench import results
    from mimir.training import compiler
    from mimir.training.device import usable

    began = time.monotonic()
    compiler.keep(say=print)
    if blocks < 1:
        raise BadInput(f"blocks is {blocks}, but must be at least 1")
    kind = "cuda" if device != "cpu" and usable() else "cpu"
    given = str(Path(data).resolve()) if data else ""
    names = [name.strip() for name in presets.split(",") if name.strip()]
    warm_up = str(WARM_UP if kind == "cpu" else GPU_WARM_UP)
    both = {"threads": threads} if threads else {}
    own = [both, both | _parsed(settings)]
    scratch, pairs = Path(tempfile.mkdtemp(prefix="mimir-revisions-")), []
    try:
        trees = [tree_of(word, scratch) for word in (before, after or str(ROOT))]
        for tree in trees:
            if not (tree.folder / "mimir" / "training").is_dir():
                raise BadInput(f"{tree.title} has no mimir/training: it is too old; give another")
        # All begin at once: most of that is compilation, which leaves the GPU alone.
        for name in names:
            words = ("-c", TRAINER, name, kind, given, warm_up)
            pairs.append([
                Process(tree, *words, json.dumps(changes))
                for tree, changes in zip(trees, own, strict=True)
            ])  # fmt: skip
        speeds = [[trainer.answer()[0] for trainer in pair] for pair in pairs]
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
        "settings": settings,
        "threads": threads or torch.get_num_threads(),
        "presets": found,
    }
    folder = Path(out) if out else results.FOLDER
    path = results.named(folder, "revisions", machine["gpu"] or machine["cpu"], ".json")
    results.write(path, results.short_lists(json.dumps(result, indent=1) + "\n"))
    print(f"written to {path}")


def _parsed(words: str) -> dict[str, Any]:
    """Settings by name; BadInput for a word that is none."""
    pairs = [word.strip().partition("=") for word in words.split(",") if word.strip()]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise BadInput(f"--settings is {words!r}, but must be name=value, with commas between")
    return {name: value for name, _, value in pairs}


def _blocks(name: str, pair: list[Process], steps: list[int], blocks: int) -> dict[str, Any]:
    times: list[list[float]] = [[], []]
    used: list[list[float]] = [[], []]
    for _ in range(blocks):
        for trainer, count, taken, busy in zip(pair, steps, times, used, strict=True):
            clock, processor = trainer.ask(str(count))
            taken.append(clock * 1e3)
            busy.append(processor * 1e3)
    ratios = [before / after for before, after in zip(*times, strict=True)]
    of_processor = [before / after for before, after in zip(*used, strict=True)]
    medians = [statistics.median(each) for each in times]
    by_clock, by_processor = _told(times, ratios), _told(used, of_processor)
    print(f"{name}: {by_clock}; of the processor {by_processor}", flush=True)
    return {
        "before_ms": [round(each, 4) for each in times[0]],
        "after_ms": [round(each, 4) for each in times[1]],
        "medians_ms": [round(each, 4) for each in medians],
        "ratio": round(statistics.median(ratios), 4),
        "before_processor_ms": [round(each, 4) for each in used[0]],
        "after_processor_ms": [round(each, 4) for each in used[1]],
        "processor_ratio": round(statistics.median(of_processor), 4),
    }


def _told(taken: list[list[float]], ratios: list[float]) -> str:
    """Milliseconds before and after, and their ratio."""
    before, after = (
        f"{statistics.median(each):.4f} ms a step ({min(each):.4f} to {max(each):.4f})"
        for each in taken
    )
    times = statistics.median(ratios)
    return f"before {before}, after {after}: x{times:.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


if __name__ == "__main__":
    cli.run("python -m bench.revisions", main)
