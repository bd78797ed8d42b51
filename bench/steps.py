"""Step times of ours beside the plain trainer's, in one interleaved run: `python -m bench.steps`.

Both sides do everything that training does between two logged rows: batches, forward,
backward, clipping, update, average. Blocks alternate (ours, base, ours, base …), so that
what else goes on in the machine falls on both; a ratio is of two neighbouring blocks.
"""

import gc
import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimir import cli
from mimir.errors import BadInput
from mimir.text import first_line, nearest

if TYPE_CHECKING:  # help and refusals need no torch
    from bench.sides import Side
    from mimir.config import Config
    from mimir.training.machine import Machine

WARM_UP, GPU_WARM_UP, PLAIN_WARM_UP = 3, 64, 8
"""Steps before the first timed ones: lazily made buffers, compilation, capture of whole graphs. On
a GPU steps are timed in multiples of it: whole graphs, and whole rows of metrics."""
PLAIN = ("base", "autocast")
"""Sides that take one step as they take many."""


def main(
    *,
    presets: str = "small,medium,large",
    blocks: int = 7,
    seconds_per_block: float = 4.0,
    device: str = "auto",
    threads: int = 0,
    data: str = "",
    out: str = "",
    sides: str = "",
    memory: str = "on",
) -> None:
    """Measure training steps of ours and of the plain trainer, interleaved, on this machine.

    Prints, and writes as JSON, for each preset: milliseconds per step (median, least and
    most over the blocks), the ratio, real residues per second, FLOP/s and their share of
    the matrix product's measured peak, and peak memory.

    Args:
        presets: names, with commas between.
        blocks: timed blocks of each side.
        seconds_per_block: about how long a block lasts.
        device: auto, cpu or cuda.
        threads: CPU threads; 0: as many as there are cores.
        data: a CSV or a packed data set (default: the shipped sample).
        out: folder for the result (default: bench/results).
        sides: ours, eager, compiled, autocast, huggingface, base, with commas between (default:
            all that the device has, and are installed; base always takes part).
        memory: on or off: also measure peak memory, each side in a process of its own.

    Example:
        python -m bench.steps --presets small,medium --blocks 5
    """
    began = time.monotonic()
    chosen = [name.strip() for name in presets.split(",") if name.strip()]
    named = [name.strip() for name in sides.split(",") if name.strip()]
    for wrong, what in (
        (memory not in ("on", "off"), f"memory is {memory!r}, but must be on or off"),
        (not chosen, f"presets is {presets!r}, but must name at least one preset"),
        (blocks < 1, f"blocks is {blocks}, but must be at least 1"),
        (
            not 0 < seconds_per_block < 3600,
            f"seconds-per-block is {seconds_per_block}, but must be above 0 and below 3600",
        ),
    ):
        if wrong:
            raise BadInput(what)
    import torch

    from bench import memory as memories
    from bench import results
    from bench import sides as trainers
    from mimir.submission import prepare
    from mimir.training import compiler
    from mimir.training.device import usable
    from mimir.training.machine import Machine

    compiler.keep(say=print)
    wishes = {"device": device, "threads": threads}
    jobs = {name: prepare(name, wishes, data) for name in chosen}  # all are checked before any runs
    kind = "cuda" if device != "cpu" and usable() else "cpu"
    if device == "cuda" and kind == "cpu":
        raise BadInput("device is 'cuda', but no GPU is visible here; use --device cpu or auto")
    known = trainers.names(torch.device(kind))
    for name in named:
        if name not in known:
            raise BadInput(f"there is no side {name!r} on this device{nearest(name, known)}")
    wanted = tuple(name for name in known if not named or name in {*named, "base"})
    held: dict[tuple[str, str], memories.Figures] = {}
    if memory == "on":  # before this process holds anything of the GPU
        packed = {name: job.data for name, job in jobs.items()}
        held = memories.peaks(wanted, packed, kind, threads)
        print(f"peak memory is measured after {time.monotonic() - began:.0f} s", flush=True)
    machine = Machine.choose(jobs[chosen[0]].config)
    torch.set_num_threads(threads or os.cpu_count() or 1)
    result: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": results.machine(machine.device, torch.get_num_threads()),
        "data": Path(data).name if data else "sample",
        "blocks": blocks,
        "seconds_per_block": seconds_per_block,
        "load_average": {"start": results.load_average()},
        "presets": {},
    }
    for name, job in jobs.items():
        figures = _preset(name, job.config, job.data, blocks, seconds_per_block, wanted)
        for side, own in figures["sides"].items():
            own.update(held.get((name, side), {}))
        result["presets"][name] = figures
        print(_report(name, figures), flush=True)
        result["load_average"]["end"] = results.load_average()
        path = results.save(result, Path(out) if out else results.FOLDER)
        print(f"written to {path}", flush=True)


def _preset(
    name: str, config: "Config", packed: Path, blocks: int, seconds: float, wanted: tuple[str, ...]
) -> dict[str, Any]:
    import torch

    from bench import sides
    from bench.work import MatrixRates
    from mimir.data.pack import load
    from mimir.training.machine import Machine

    machine = Machine.choose(config)
    peptides = load(packed)
    work = sides.work(config, peptides)
    gpu = machine.device.type == "cuda"
    if gpu:  # what the preset before has left; torch compiles a function for a few models only
        torch.compiler.reset()
        gc.collect()
        torch.cuda.empty_cache()
    trainers, strides = [], {}
    for label in wanted:
        warm_up = (PLAIN_WARM_UP if label in PLAIN else GPU_WARM_UP) if gpu else WARM_UP
        try:
            side = sides.build(label, config, peptides)
            side.run(warm_up)
            side.run(1)  # on a GPU an epoch's last steps are captured by themselves
        except Exception as error:
            if label in ("ours", "base"):
                raise
            # The others are measured nevertheless: time on a GPU is short.
            print(f"{name}: {label} cannot run here: {first_line(error)}", flush=True)
            continue
        trainers.append(side)
        wanted_steps = seconds / 16 / _seconds(side, warm_up) * warm_up
        whole = warm_up if gpu else 1
        strides[label] = whole * max(1, round(wanted_steps / whole))
    # Before the blocks and after them, the better counts: others may use the machine too.
    rates = MatrixRates.of(config, work.residues, machine.device, machine.dtype)
    times: dict[str, list[float]] = {side.name: [] for side in trainers}
    steps: dict[str, list[int]] = {side.name: [] for side in trainers}
    for block in range(blocks):
        for side in trainers:
            spent, taken = 0.0, 0
            while spent < seconds:
                spent += _seconds(side, strides[side.name])
                taken += strides[side.name]
            times[side.name].append(1e3 * spent / taken)
            steps[side.name].append(taken)
        shown = ", ".join(f"{side} {values[-1]:.2f} ms" for side, values in times.items())
        print(f"{name}: block {block + 1} of {blocks}: {shown}", flush=True)
    rates = rates.better(MatrixRates.of(config, work.residues, machine.device, machine.dtype))

    figures: dict[str, Any] = {
        "batch": config.training.batch,
        "dtype": {side: _dtype(side, machine) for side in times},
        "residues_per_step": round(work.residues, 2),
        "gflop_per_step": round(work.flop / 1e9, 4),
        "gflop_spared_by_ours": round(work.spared / 1e9, 4),
        "matrix_peak_gflops": round(rates.peak / 1e9, 1),
        "own_product_gflops": round(rates.own / 1e9, 1),
        "sides": {},
        "ratio": {},
    }
    for label, values in times.items():
        median = statistics.median(values)
        # Fixed shapes compute the last layer and the head for all residues.
        done = work.flop - (work.spared if label == "ours" and not machine.fixed else 0)
        figures["sides"][label] = {
            "block_steps": steps[label],
            "block_ms": [round(value, 4) for value in values],
            "median_ms": round(median, 4),
            "min_ms": round(min(values), 4),
            "max_ms": round(max(values), 4),
            "residues_per_s": round(1e3 * work.residues / median, 1),
            "gflops": round(done / median / 1e6, 2),
            "share_of_peak": round(1e3 * done / median / rates.peak, 4),
        }
        if label != "base":
            ratios = [base / mine for base, mine in zip(times["base"], values, strict=True)]
            figures["ratio"][label] = {
                "blocks": [round(ratio, 3) for ratio in ratios],
                "median": round(statistics.median(ratios), 3),
                "min": round(min(ratios), 3),
                "max": round(max(ratios), 3),
            }
    return figures


def _seconds(side: "Side", steps: int) -> float:
    start = time.perf_counter()
    side.run(steps)
    return time.perf_counter() - start


def _dtype(side: str, machine: "Machine") -> str:
    known = {"base": "float32", "autocast": "bfloat16", "compiled": "bfloat16"}
    return known.get(side, str(machine.dtype).removeprefix("torch."))


def _report(name: str, figures: dict[str, Any]) -> str:
    lines = [
        f"{name}: batch {figures['batch']}, {figures['residues_per_step']:.0f} residues and "
        f"{figures['gflop_per_step']:.2f} GFLOP a step, of which ours spares "
        f"{figures['gflop_spared_by_ours']:.2f}; matrix product at best "
        f"{figures['matrix_peak_gflops']:,.0f} GFLOP/s, of this step's size "
        f"{figures['own_product_gflops']:,.0f}"
    ]
    for side, own in figures["sides"].items():
        lines.append(
            f"  {side:<9}{own['median_ms']:>10.2f} ms a step ({own['min_ms']:.2f} to "
            f"{own['max_ms']:.2f}), {own['residues_per_s']:,.0f} residues/s, "
            f"{own['gflops']:,.1f} GFLOP/s = {own['share_of_peak']:.1%} of the peak"
            + (f", {own['peak_mib']:,.0f} MiB at most" if "peak_mib" in own else "")
        )
    for side, ratio in figures["ratio"].items():
        lines.append(
            f"  {side} takes {ratio['median']:.2f} times as many steps as base "
            f"({ratio['min']:.2f} to {ratio['max']:.2f} over the blocks)"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run("python -m bench.steps", main)
