"""Peak memory of one side. On a CPU in a process of its own: `python -m bench.memory`."""

import gc
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mimir import cli
from mimir.errors import BadInput, MimirError
from mimir.text import nearest

WARM_UP = 3
"""Steps before the peak is read: all buffers exist after the first, lazily made ones too."""


def peak(preset: str, side: str, data: str, threads: int) -> dict[str, float]:
    """MiB at the peak of a few steps, and before the trainer was built, in a fresh process.

    Raises:
        MimirError: the process failed; its own words are on stderr.
    """
    words = ["--preset", preset, "--side", side, "--data", data]
    words += ["--threads", str(threads)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.memory", *words], stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise MimirError(f"the memory of {preset}, side {side}, could not be measured: see above")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main(
    *,
    preset: str,
    side: str,
    data: str = "",
    steps: int = WARM_UP,
    threads: int = 0,
) -> None:
    """Print the peak memory of a few steps of one side on a CPU, as JSON, in MiB.

    It is the resident set of the whole process, torch included (`before` is that part).

    Args:
        preset: small, medium, large, smoke, or a YAML file.
        side: ours, eager, autocast or base.
        data: a packed data set (default: the shipped sample).
        steps: how many to take.
        threads: CPU threads; 0: as many as there are cores.

    Example:
        python -m bench.memory --preset large --side ours
    """
    import torch

    from bench import sides
    from mimir.data.pack import load
    from mimir.submission import prepare

    job = prepare(preset, {"device": "cpu", "threads": threads}, data)
    torch.set_num_threads(threads or os.cpu_count() or 1)
    if side not in sides.SIDES:
        raise BadInput(f"there is no side {side!r}{nearest(side, sides.SIDES)}")
    peptides = load(job.data)
    before = _resident_peak()
    trainer = sides.build(side, job.config, peptides)
    trainer.run(steps)
    print(json.dumps({"peak_mib": round(_resident_peak(), 1), "before_mib": round(before, 1)}))


@contextmanager
def on_gpu(figures: dict[str, float]) -> Iterator[None]:
    """Fill in the MiB that torch's allocator held at most for what is built inside."""
    import torch

    torch.cuda.synchronize()
    gc.collect()  # engines are cycles: the last preset's would be freed in the middle
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    yield
    torch.cuda.synchronize()
    figures["peak_mib"] = round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)
    figures["before_mib"] = 0.0


def _resident_peak() -> float:
    """MiB. Linux's ru_maxrss of a child begins at its parent's: /proc's figure does not."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 1024


if __name__ == "__main__":
    cli.run("python -m bench.memory", main)
