"""Time of each kernel in a training step on a GPU: `python -m bench.kernel_profile`.

The step is captured as it is in training. First it is timed without the profiler, then torch's
profiler lists the kernels of some of its graphs.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from mimir import cli
from mimir.errors import BadInput

if TYPE_CHECKING:
    from mimir.training.engine import Engine

WARM_UP, TIMED, TIMES, PROFILED = 64, 448, 3, 64
"""Steps: before anything, in one timing, number of timings, under the profiler."""
SHOWN = 40
"""Lines that are printed; the file has all."""


def main(*, preset: str = "large", data: str = "", out: str = "") -> None:
    """Time a preset's step on this GPU, then list its kernels with their times.

    Args:
        preset: small, medium, large, smoke, or a YAML file.
        data: a CSV or a packed data set (default: the shipped sample).
        out: folder for the list (default: bench/results).

    Example:
        python -m bench.kernel_profile --preset small
    """
    import torch

    from bench import results
    from mimir.data.pack import load
    from mimir.submission import prepare
    from mimir.training import compiler
    from mimir.training.assemble import assemble

    if not torch.cuda.is_available():
        raise BadInput("no GPU is visible here; on a CPU use torch's profiler by itself")
    compiler.keep(say=print)
    job = prepare(preset, {"device": "cuda"}, data)
    engine = assemble(job.config, load(job.data))
    _advance(engine, WARM_UP)
    _advance(engine, 1)  # an epoch's last steps are captured by themselves
    times = [_advance(engine, TIMED) / TIMED * 1e3 for _ in range(TIMES)]
    kernels = _kernels(engine)
    machine = results.machine(engine.machine.device, 0)
    precision = str(engine.machine.dtype).removeprefix("torch.")
    busy, launched = sum(row[0] for row in kernels), sum(row[1] for row in kernels)
    training, runtime = job.config.training, job.config.runtime
    lines = [
        f"# Time of each kernel in one training step of the {job.config.preset} preset:",
        f"# {precision}, batch {training.batch}, {runtime.graph_steps} steps per CUDA graph, "
        f"data {job.data.stem if data else 'sample'},",
        f"# revision {machine['revision'] or 'unknown'}, {machine['gpu']}, torch "
        f"{machine['torch']}, {time.strftime('%Y-%m-%d', time.gmtime())};",
        f"# {' '.join(f'{each:.3f}' for each in times)} ms a step without the profiler,",
        f"# {launched:.2f} kernels a step, busy for {busy:.1f} us. us per step, launches per step.",
        *(f"{us:9.2f} us {launches:8.2f} x  {name}" for us, launches, name in kernels),
    ]
    print("\n".join(lines[:SHOWN]), flush=True)
    folder = Path(out) if out else results.FOLDER
    path = results.named(folder, f"profile-{job.config.preset}", machine["gpu"], ".txt")
    results.write(path, "\n".join(lines) + "\n")
    print(f"written to {path}")


def _advance(engine: "Engine", steps: int) -> float:
    """Take these steps; the seconds."""
    from mimir.training.device import synchronize

    synchronize(engine.machine.device)
    start, goal = time.perf_counter(), engine.step + steps
    while engine.step < goal:
        engine.advance(goal - engine.step)
    synchronize(engine.machine.device)
    return time.perf_counter() - start


def _kernels(engine: "Engine") -> list[tuple[float, float, str]]:
    """(us per step, launches per step, name) of each kernel, the longest first."""
    from torch._C._autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    before = engine.step
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        _advance(engine, PROFILED)
    steps = engine.step - before
    found = [
        (event.self_device_time_total / steps, event.count / steps, event.key)
        for event in profiler.key_averages()
        if event.device_type == DeviceType.CUDA
    ]
    return sorted(found, reverse=True)


if __name__ == "__main__":
    cli.run("python -m bench.kernel_profile", main)
