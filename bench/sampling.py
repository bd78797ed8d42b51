"""Rates of sampling of two checkouts, interleaved: `python -m bench.sampling REVISION`.

Each draws in a process of its own, on one thread, the same peptides from the same weights; counted
is processor time, because other work on the machine slows the clock's.
"""

import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from bench.checkouts import ROOT, Process, tree_of
from mimir import cli
from mimir.errors import BadInput

SAMPLER = """
import hashlib, json, sys, time
import torch
from mimir.config import load_preset
from mimir.model.denoiser import Denoiser, initialise
from mimir.output import sampling

torch.set_num_threads(1)
preset, lengths = sys.argv[1], json.loads(sys.argv[2])
model = Denoiser(load_preset(preset).model, 20, 804)
initialise(model, 0)
with torch.no_grad():  # far from uniform, so that peptides hang on the logits
    for weight in (model.head.weight, model.label, model.target):
        weight.mul_(10)
try:
    from mimir.output.condition import Condition
    told = {"condition": Condition(1, 3)}
except ImportError:  # before 2026-11-28
    told = {"label": 1, "target": 3}

def draw(seed, count):
    return sampling.sample(model, count, sampling.Draw(**told, seed=seed), lengths)

draw(0, 64)
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    seed, count = map(int, line.split())
    began = time.process_time()
    peptides = draw(seed, count)
    taken = time.process_time() - began
    print(json.dumps([taken, peptides]), flush=True)
"""


def main(
    before: str, *, after: str = "", presets: str = "small", blocks: int = 7, count: int = 640,
    out: str = "",
) -> None:  # fmt: skip
    """Draw peptides with two checkouts, in alternating blocks.

    Args:
        before: the one checkout: its folder, or a git revision.
        after: the other (default: this one).
        presets: names, with commas between.
        blocks: timed blocks of each.
        count: peptides of a block.
        out: folder for the result (default: bench/results).

    Example:
        python -m bench.sampling 31e702c
    """
    import torch

    from bench import results
    from mimir.data import sample_path
    from mimir.data.alphabet import MAX_LENGTH
    from mimir.data.table import parse

    if blocks < 1:
        raise BadInput(f"blocks is {blocks}, but must be at least 1")
    table = parse(sample_path().read_bytes())
    assert table is not None
    pairs = table.lengths[table.labels == 1].tolist()
    lengths = json.dumps([pairs.count(size) for size in range(MAX_LENGTH + 1)])
    scratch, found = Path(tempfile.mkdtemp(prefix="mimir-sampling-")), {}
    try:
        trees = [tree_of(word, scratch) for word in (before, after or str(ROOT))]
        for name in presets.split(","):
            sides = [Process(tree, "-c", SAMPLER, name, lengths) for tree in trees]
            try:
                for side in sides:
                    side.answer()
                times: list[list[float]] = [[], []]
                differing = 0
                for block in range(blocks):
                    answers = [side.ask(f"{block} {count}") for side in sides]
                    for taken, answer in zip(times, answers, strict=True):
                        taken.append(round(answer[0], 4))
                    pair = zip(answers[0][1], answers[1][1], strict=True)
                    differing += sum(one != other for one, other in pair)
            finally:
                for side in sides:
                    side.end()
            ratios = [one / other for one, other in zip(*times, strict=True)]
            rates = [count / statistics.median(each) for each in times]
            found[name] = {
                "before_s": times[0], "after_s": times[1],
                "peptides_per_s": [round(rate, 1) for rate in rates],
                "ratio": round(statistics.median(ratios), 3), "differing": differing,
            }  # fmt: skip
            print(
                f"{name}: {rates[0]:.0f} then {rates[1]:.0f} peptides a second of one thread, "
                f"x{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); "
                f"{differing} of {blocks * count} peptides differ",
                flush=True,
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    machine = results.machine(torch.device("cpu"), 1)
    result = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine,
        "load_average": results.load_average(), "trees": [tree.title for tree in trees],
        "blocks": blocks, "count": count, "presets": found,
    }  # fmt: skip
    path = results.named(Path(out) if out else results.FOLDER, "sampling", machine["cpu"], ".json")
    results.write(path, results.short_lists(json.dumps(result, indent=1) + "\n"))
    print(f"written to {path}")


if __name__ == "__main__":
    cli.run("python -m bench.sampling", main)
