"""Peak memory of one side in a process of its own: `python -m bench.memory`."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

from mimir import cli
from mimir.errors import BadInput, MimirError

WARM_UP = 3
"""Steps before the peak is read: all buffers exist after the first, lazily made ones too."""


def peak(preset: str, side: str, data: str, device: str, threads: int) -> dict[str, float]:
    """MiB at the peak of a few steps, and before the trainer was built, in a fresh process.

    Raises:
        MimirError: the process failed; its own words are on stderr.
    """
    words = ["--preset", preset, "--side", side, "--data", data]
    words += ["--device", device, "--threads", str(threads)]
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
    device: str = "auto",
    steps: int = WARM_UP,
    threads: int = 0,
) -> None:
    """Print the peak memory of a few steps of one side, as JSON, in MiB.

    On a CPU it is the resident set of the whole process, torch included (`before` is that
    part); on a GPU it is what torch's allocator held at most.

    Args:
        preset: small, medium, large, smoke, or a YAML file.
        side: ours, eager or base.
        data: a packed data set (default: the shipped sample).
        device: auto, cpu or cuda.
        steps: how many to take.
        threads: CPU threads; 0: as many as there are cores.

    Example:
        python -m bench.memory --preset large --side ours
    """
    import torch

    from bench import sides
    from mimir.data.pack import load
    from mimir.engine import Machine
    from mimir.submission import prepare

    job = prepare(preset, {"device": device, "threads": threads}, data)
    torch.set_num_threads(threads or os.cpu_count() or 1)
    known = ("ours", "eager", "base")
    if side not in known:
        raise BadInput(f"there is no side {side!r}{cli.nearest(side, known)}")
    peptides = load(job.data)
    before = _resident_peak()
    trainer = sides.build(side, job.config, peptides)
    if Machine.choose(job.config).device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        trainer.run(steps)
        figures = {"peak_mib": torch.cuda.max_memory_allocated() / 2**20, "before_mib": 0.0}
    else:
        trainer.run(steps)
        figures = {"peak_mib": _resident_peak(), "before_mib": before}
    print(json.dumps({name: round(value, 1) for name, value in figures.items()}))


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
