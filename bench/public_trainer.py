"""Our steps beside those of the training guide's own trainer, which is public (pmall/pepgen).

Its script runs unmodified from a checkout of yours, in a process of its own: only its progress bar
is replaced by one that hands out batches when it is asked to. Blocks of both alternate, and the
processor's time is what counts, because others use the machine too. A CPU with one thread each.

    git clone https://github.com/pmall/pepgen && python -m bench.public_trainer --checkout pepgen
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import results
from mimir import cli
from mimir.errors import BadInput, MimirError

SCRIPT = "scripts/train.py"
WARM_UP = 5
"""Steps of each side before the first block."""
_DRIVER = """
import json, runpy, sys, time, tqdm
answers, sys.stdout = sys.stdout, sys.stderr
left, began = 0, None

class Bar:
    def __init__(self, batches, **how):
        self.batches = batches
    def set_postfix(self, **shown):
        pass
    def __iter__(self):
        global left, began
        for batch in self.batches:
            if left == 0:
                if began is not None:
                    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
                    print(json.dumps([wall, cpu]), file=answers, flush=True)
                line = sys.stdin.readline()
                if not line:
                    sys.exit()
                left, began = int(line), (time.perf_counter(), time.process_time())
            left -= 1
            yield batch

tqdm.tqdm = Bar
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
Block = Callable[[int], tuple[float, float]]
"""Takes so many steps; seconds of the clock and of the processor."""


def measure(
    *, checkout: str, preset: str = "small", data: str = "", blocks: int = 7, steps: int = 20,
    batch: int = 0, out: str = str(results.FOLDER),
) -> None:  # fmt: skip
    """Measure steps of ours and of the public trainer, in turns.

    Args:
        checkout: a folder with a clone of the public trainer.
        preset: small, medium or large, which both have.
        data: CSV for both (default: the shipped sample).
        blocks: of each side, in turns.
        steps: in a block.
        batch: peptides a step, for both (default: our preset's).
        out: folder for the result file.

    Example:
        python -m bench.public_trainer --checkout ../pepgen --preset medium --steps 5
    """
    theirs = Path(checkout)
    if not (theirs / SCRIPT).is_file():
        raise BadInput(
            f"{theirs / SCRIPT} is missing: --checkout must be a clone of the public trainer"
        )
    if min(blocks, steps) < 1 or batch < 0:
        raise BadInput("--blocks and --steps must be 1 or more, --batch 0 or more")
    import torch

    from bench import sides
    from mimir.data import sample_path
    from mimir.data.pack import load
    from mimir.submission import prepare

    torch.set_num_threads(1)
    wishes: dict[str, Any] = {"device": "cpu", "threads": 1, **({"batch": batch} if batch else {})}
    job = prepare(preset, wishes, data)
    load_before = results.load_average()
    ours = _ours(sides.build("ours", job.config, load(job.data)).run)
    rows = Path(data) if data else sample_path()
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "public": []}
    with _theirs(theirs, rows, preset, job.config.training.batch) as public:
        ours(WARM_UP)
        public(WARM_UP)
        for block in range(blocks):
            for name, side in (("ours", ours), ("public", public)):
                times[name].append(side(steps))
            shown = ", ".join(f"{n} {1e3 * t[-1][1] / steps:.1f} ms" for n, t in times.items())
            print(f"block {block + 1} of {blocks}: {shown} of the processor a step", flush=True)
    cpu, wall = _ratio(times, 1), _ratio(times, 0)
    body: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": results.machine(torch.device("cpu"), 1), "load_average": load_before,
        "public": {"name": "pmall/pepgen", "revision": _revision(theirs)}, "preset": preset,
        "batch": job.config.training.batch, "steps": steps,
        **{name: [list(each) for each in taken] for name, taken in times.items()},
        "ratio_cpu": cpu, "ratio_wall": wall,
    }  # fmt: skip
    print(
        f"ours is {cpu['median']:.2f} times as fast by the processor's time ({cpu['min']:.2f} to "
        f"{cpu['max']:.2f}), {wall['median']:.2f} by the clock"
    )
    kind = f"public-trainer-{preset}-{job.config.training.batch}"
    print(f"written to {results.save(body, Path(out), kind)}")


def _ours(run: Callable[[int], None]) -> Block:
    def block(steps: int) -> tuple[float, float]:
        began, used = time.perf_counter(), time.process_time()
        run(steps)
        return time.perf_counter() - began, time.process_time() - used

    return block


@contextmanager
def _theirs(checkout: Path, rows: Path, preset: str, batch: int) -> Iterator[Block]:
    """The public trainer in a copy of its checkout, beside the data."""
    with tempfile.TemporaryDirectory(prefix="mimir-bench-") as folder:
        copy = Path(folder, "public")
        shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git", "data"))
        (copy / "data").mkdir()
        shutil.copy(rows, copy / "data" / "dataset.csv")
        words = [
            sys.executable, "-c", _DRIVER, SCRIPT, "--preset", preset, "--batch-size", str(batch),
            "--num-workers", "0", "-v",
        ]  # fmt: skip
        with (
            Path(folder, "log").open("w+") as log,
            subprocess.Popen(
                words, cwd=copy, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                text=True, env=_environment(),
            ) as process,
        ):  # fmt: skip

            def block(steps: int) -> tuple[float, float]:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(f"{steps}\n")
                process.stdin.flush()
                answer = process.stdout.readline()
                if not answer:
                    log.seek(0)
                    raise MimirError(f"the public trainer ended: {log.read()[-2000:]}")
                wall, cpu = json.loads(answer)
                return wall, cpu

            try:
                yield block
            finally:
                process.kill()


def _environment() -> dict[str, str]:
    """Without our own package, which bears the same name as theirs."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}


def _ratio(times: dict[str, list[tuple[float, float]]], which: int) -> dict[str, float]:
    pairs = zip(times["ours"], times["public"], strict=True)
    found = [theirs[which] / ours[which] for ours, theirs in pairs]
    return {
        "median": round(statistics.median(found), 3), "min": round(min(found), 3),
        "max": round(max(found), 3),
    }  # fmt: skip


def _revision(checkout: Path) -> str:
    words = ["git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(words, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    cli.run("python -m bench.public_trainer", measure)
