"""Peak memory of one side, in a process of its own: `python -m bench.memory`."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mimir import cli
from mimir.errors import BadInput
from mimir.text import nearest

WARM_UP, GPU_WARM_UP = 3, 64
"""Steps before the peak is read: all buffers exist after the first, lazily made ones too; on a GPU,
whole graphs."""
AT_ONCE = 8
"""Processes that share a GPU and the processors that compile for it; what each holds is its own."""
COMPILED = ("ours", "compiled")
"""Sides that take longest to begin, and so are begun first."""
Figures = dict[str, float | None]


def peaks(
    sides: Sequence[str], data: dict[str, Path], device: str, threads: int
) -> dict[tuple[str, str], Figures]:
    """(preset, side) -> MiB at the peak of a few steps, each in a fresh process.

    Args:
        data: preset -> its packed data set.
        device: "cpu" or "cuda". On a GPU several run at once.
    No figures where a process failed, whose own words are on stderr.
    """

    def one(case: tuple[str, str]) -> Figures:
        preset, side = case
        words = ["--preset", preset, "--side", side, "--data", str(data[preset])]
        words += ["--threads", str(threads), "--device", device]
        done = subprocess.run(
            [sys.executable, "-m", "bench.memory", *words], stdout=subprocess.PIPE, text=True,
            env={"TORCHINDUCTOR_COMPILE_THREADS": "4", **os.environ},
        )  # fmt: skip
        if done.returncode:  # step times are worth having without
            print(f"the memory of {preset}, side {side}, cannot be measured: see above", flush=True)
            return {}
        figures: Figures = json.loads(done.stdout.splitlines()[-1])
        return figures

    cases = [(preset, side) for side in sides for preset in data]
    cases.sort(key=lambda case: case[1] not in COMPILED)
    with ThreadPoolExecutor(1 if device == "cpu" else AT_ONCE) as pool:
        return dict(zip(cases, pool.map(one, cases), strict=True))


def main(
    *,
    preset: str,
    side: str,
    data: str = "",
    steps: int = 0,
    threads: int = 0,
    device: str = "cpu",
) -> None:
    """Print the peak memory of a few steps of one side, as JSON, in MiB.

    On a CPU it is the resident set of the whole process, torch included (`before_mib` is that
    part). On a GPU `peak_mib` is what torch took from the GPU at most, graphs included, and
    `device_mib` what nvidia-smi says that the process holds, CUDA's own part included (null where
    it does not say).

    Args:
        preset: small, medium, large, smoke, or a YAML file.
        side: ours, eager, compiled, autocast or base.
        data: a packed data set (default: the shipped sample).
        steps: how many to take (default: until all buffers exist).
        threads: CPU threads; 0: as many as there are cores.
        device: cpu or cuda.

    Example:
        python -m bench.memory --preset large --side ours
    """
    import torch

    from bench import sides
    from mimir.data.pack import load
    from mimir.submission import prepare
    from mimir.training import compiler

    compiler.keep()  # standard output is JSON
    job = prepare(preset, {"device": device, "threads": threads}, data)
    torch.set_num_threads(threads or os.cpu_count() or 1)
    if side not in sides.SIDES:
        raise BadInput(f"there is no side {side!r}{nearest(side, sides.SIDES)}")
    peptides = load(job.data)
    before = _resident_peak()
    trainer = sides.build(side, job.config, peptides)
    gpu = device == "cuda"
    trainer.run(steps or (GPU_WARM_UP if gpu else WARM_UP))
    if gpu:
        peak, before, held = torch.cuda.max_memory_reserved() / 2**20, 0.0, _on_device()
    else:
        peak, held = _resident_peak(), None
    figures: Figures = {"peak_mib": round(peak, 1), "before_mib": round(before, 1)}
    print(json.dumps(figures | ({"device_mib": held} if gpu else {})))


def _on_device() -> float | None:
    """MiB that this process holds on its GPU, as nvidia-smi tells it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = ["--query-compute-apps=pid,used_gpu_memory", "--format=csv,noheader,nounits"]
    done = subprocess.run([program, *query], capture_output=True, text=True)
    for line in done.stdout.splitlines():
        number, _, mib = line.partition(",")
        if number.strip() == str(os.getpid()) and mib.strip().isdecimal():
            return float(mib)
    return None


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
