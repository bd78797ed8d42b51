"""Step times of each of our own kernels on a GPU: `python -m bench.kernels --out FOLDER`.

For each preset: the compiled step with none of `mimir.config.KERNELS`, with each alone,
with all, and with all but one, as captured graphs, in interleaved blocks of one process. Beside
that: gradients compared with the eager float32 path, captured steps with the same steps one by one
(bitwise), the kernels of a step by name, and some other tiles. A case that fails says so, and the
others go on; at the end stands which kernels may be switched on. Synthetic peptides with the
lengths of the real ones; nothing is read or fetched.
"""

import json
import statistics
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.engines import GRAPH, engine_of, random_data
from mimir import cli
from mimir.errors import BadInput
from mimir.text import first_line

if TYPE_CHECKING:
    from mimir.model.batch import DeviceData
    from mimir.training.engine import Engine

FIRST = ("ends", "norm", "wgrad", "gelu", "update", "branch")
"""What a wide model uses; a narrow one has `peptide` beside them."""
APART = 1.5
"""Times the distance of eager bf16's gradient from the float32 one at which a kernel's is wrong."""


def main(
    *,
    out: str,
    presets: str = "large,small,medium",
    blocks: int = 5,
    seconds_per_block: float = 0.25,
    budget: float = 280.0,
    tiles: bool = True,
) -> int:
    """Measure and check each of our own kernels on the GPU at hand.

    Exit code 1 if a case fails, or computes other numbers captured than one by one, or another
    gradient, and if a preset had no time for any.

    Args:
        out: folder for `kernels.json`, written anew after each preset.
        presets: names, with commas between.
        blocks: timed blocks of each case.
        seconds_per_block: about how long a block lasts.
        budget: seconds after which no further case is begun.
        tiles: whether other tiles are tried as well.

    Example:
        python -m bench.kernels --out /tmp/kernels
    """
    import torch

    from bench import results
    from mimir.training import compiler

    if not torch.cuda.is_available():
        raise BadInput("no GPU is visible here, and these kernels are measured on one")
    compiler.keep(say=print)
    start = time.perf_counter()
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"machine": results.machine(torch.device("cuda"), 1), "presets": {}}
    for name in presets.split(","):
        figures: dict[str, Any] = {}
        found["presets"][name] = figures
        for part in _preset(name, blocks, seconds_per_block, start + budget, figures):
            print(f"[{time.perf_counter() - start:5.0f} s] {name}: {part}", flush=True)
            (folder / "kernels.json").write_text(json.dumps(found, indent=1) + "\n")
        for sentence in verdict(figures):
            print(f"{name}: {sentence}", flush=True)
    if tiles:
        from bench import tiles as trial

        found["tiles"] = figures = {}
        for part in trial.compared(start + budget, figures):
            print(f"[{time.perf_counter() - start:5.0f} s] {part}", flush=True)
            (folder / "kernels.json").write_text(json.dumps(found, indent=1) + "\n")
    return int(not passed(found["presets"]))


def passed(presets: dict[str, dict[str, Any]]) -> bool:
    """Whether every preset had cases, and all of them are sound."""
    return all(cases and all(map(sound, cases.values())) for cases in presets.values())


def sound(case: dict[str, Any]) -> bool:
    """Whether a case ran, with equal steps captured and one by one, and with the right gradient."""
    return bool(case.get("equal")) and bool(case.get("near"))


def verdict(figures: dict[str, Any]) -> list[str]:
    """Which kernels may be switched on for a preset: faster than none of them, and sound.

    figures: by case, as in `kernels.json`.
    """
    before = figures.get("off", {}).get("median_ms")
    if before is None:
        return ["nothing can be said: the step without our kernels was not timed"]
    lines = []
    for label, case in figures.items():
        if label == "off":
            continue
        if not sound(case):
            lines.append(f"{label}: stays off, it failed a check (above)")
        elif "median_ms" not in case:
            lines.append(f"{label}: stays off, it was not timed")
        else:
            times = before / case["median_ms"]
            may = "may be switched on" if times > 1 else "stays off, it is not faster"
            lines.append(f"{label}: x{times:.3f} against none, {may}")
    return lines


@dataclass
class Case:
    name: str
    kernels: frozenset[str]
    engine: "Engine"
    times: list[float]


def names(preset: str) -> dict[str, frozenset[str]]:
    """The cases of a preset, the most telling first."""
    every = frozenset(FIRST)
    cases = {"off": frozenset[str](), "all": every}
    if preset == "small":
        cases["peptide"] = frozenset({"ends", "wgrad", "peptide", "update", "branch"})
    cases |= {f"all but {name}": every - {name} for name in FIRST}
    alone = [name for name in (*FIRST, "attention") if name != "branch"]
    return cases | {f"only {name}": frozenset({name}) for name in alone}


def _preset(
    name: str, blocks: int, seconds: float, end: float, figures: dict[str, Any]
) -> Iterator[str]:
    import torch

    torch.compiler.reset()
    data = random_data(torch.device("cuda"))
    cases: list[Case] = []
    for label, kernels in names(name).items():
        if time.perf_counter() > end:
            yield f"{label}: left out, the time is over"
            continue
        begin = time.perf_counter()
        try:
            case = Case(label, kernels, engine_of(name, kernels, data), [])
            if cases:  # the plan is compiled once
                case.engine._batches = cases[0].engine._batches
            case.engine.advance(GRAPH)
            torch.cuda.synchronize()
        except Exception as error:  # noqa: BLE001 - the other cases are to go on
            figures[label] = {"error": traceback.format_exc()}
            yield f"{label}: FAILS ({type(error).__name__}: {first_line(error)})"
            continue
        cases.append(case)
        figures[label] = {"build_s": round(time.perf_counter() - begin, 1)}
        checks = {"equal": _captured_is_eager, "near": _gradient}
        for what, check in checks.items():
            try:
                figures[label][what], words = check(case.engine, name, data)
            except Exception as error:  # noqa: BLE001
                figures[label][what] = False
                words = f"FAILS ({type(error).__name__}: {first_line(error)})"
            figures[label][f"{what}_words"] = words
            yield f"{label}: {words}"
        yield f"{label}: built in {figures[label]['build_s']} s, {_timed(case, seconds):.4f} ms"
    for _ in range(blocks):
        for case in cases:
            case.times.append(_timed(case, seconds))
    for case in cases:
        own = {"block_ms": case.times, "median_ms": statistics.median(case.times)}
        figures[case.name] |= own
        yield f"{case.name:<14} {own['median_ms']:.4f} ms ({min(case.times):.4f} least)"
    for case in cases:
        if case.name in ("off", "all", "peptide"):
            try:
                figures[case.name]["kernels"] = rows = _kernels(case.engine)
            except Exception as error:  # noqa: BLE001
                yield f"{case.name}: no profile ({type(error).__name__}: {first_line(error)})"
                continue
            whole, count = sum(row[2] for row in rows), sum(row[1] for row in rows)
            lines = [f"  {us:8.2f} us {times:6.2f} x {kernel}" for kernel, times, us in rows[:32]]
            head = f"{case.name}: {count:.1f} kernels, {whole:.1f} us of kernels in a step"
            yield "\n".join([head, *lines])
    cases.clear()
    torch.cuda.empty_cache()


def _timed(case: Case, seconds: float) -> float:
    """Milliseconds of a step."""
    import torch

    engine = case.engine
    taken = 0
    torch.cuda.synchronize()
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        if engine.step + 4 * GRAPH > engine.steps_per_epoch:
            engine.step = 0
            engine.state.step.zero_()
        engine.advance(4 * GRAPH)
        taken += 4 * GRAPH
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - begin) / taken


def _captured_is_eager(engine: "Engine", preset: str, data: "DeviceData") -> tuple[bool, str]:
    """Sixteen steps as graphs, again as graphs, and as they are captured, from one state."""
    import torch

    before = {name: value.clone() for name, value in engine.state.tensors().items()}
    ends = []
    for way in ("captured", "again", "eager"):
        engine.resume(before)
        engine._begin_epoch(0)
        if way == "eager":
            for _ in range(2):
                engine._several(GRAPH)
        else:
            engine.advance(2 * GRAPH)
        torch.cuda.synchronize()
        ends.append({name: value.clone() for name, value in engine.state.tensors().items()})
    engine.resume(before)
    engine._begin_epoch(0)
    verdicts = []
    for what, other in (("repeated", ends[1]), ("eager", ends[2])):
        wrong = [n for n in ends[0] if not torch.equal(ends[0][n], other[n])]
        verdicts.append(f"{what} equal" if not wrong else f"{what} DIFFERS in {len(wrong)}")
    finite = bool(torch.isfinite(engine.state.master).all())
    loss = float(ends[0]["loop.losses"][:16].mean())
    equal = finite and not any("DIFFERS" in each for each in verdicts)
    return equal, ", ".join(["captured", *verdicts, f"finite {finite}", f"loss {loss:.4f}"])


def _gradient(engine: "Engine", preset: str, data: "DeviceData") -> tuple[bool, str]:
    """Relative distance from the eager float32 gradient, whole and worst, beside eager bf16's."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    eager = {"compiled": False, "fused": False}
    reference = engine_of(preset, frozenset(), data, dtype=torch.float32, **eager)
    low = engine_of(preset, frozenset(), data, **eager)
    gradients = []
    for one in (reference, low, engine):
        one._begin_epoch(0)
        one.state.step.zero_()
        one.step = 0
        if one is not engine:
            one.state.master.copy_(engine.state.low.float())
            one.state.refresh()
        used = one.state.spans[-1].stop  # the places behind stay 0
        one.state.low_grad[:used].fill_(float("nan") if one is engine else 0.0)
        work = next(iter(one._prepared(torch.zeros(1, dtype=torch.int64, device="cuda"))))
        loss = float(one._gradient(work))
        gradients.append((loss, one.state.low_grad.double().clone()))
    wanted = gradients[0][1]
    words = [f"gradient: loss {gradients[2][0]:.6f} (float32 {gradients[0][0]:.6f})"]
    distances = []
    for label, (_, gradient) in zip(("eager bf16", "this"), gradients[1:], strict=True):
        far: dict[str, float] = {}
        for span in engine.state.spans:
            own = slice(span.start, span.stop)
            size = float(wanted[own].norm())
            apart = float((gradient[own] - wanted[own]).norm())
            far[span.name] = apart / size if size else apart
        highest = sorted(far.items(), key=lambda item: -item[1])
        whole = float((gradient[:used] - wanted[:used]).norm() / wanted[:used].norm())
        distances.append(whole)
        worst = ", ".join(f"{name} {value:.4f}" for name, value in highest[:3])
        words.append(f"{label} {whole:.5f} apart (worst: {worst})")
    low_apart, apart_here = distances
    return apart_here <= APART * low_apart, "; ".join(words)


def _kernels(engine: "Engine") -> list[tuple[str, float, float]]:
    """Name, launches and µs of each kernel in one step of a captured graph."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    engine.state.step.zero_()
    engine.step = 0
    engine._begin_epoch(0)
    engine.advance(GRAPH)
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        engine.advance(4 * GRAPH)
        torch.cuda.synchronize()
    spent: dict[str, float] = {}
    times: Counter[str] = Counter()
    for event in seen.events():
        if event.device_type.name == "CUDA":
            name = event.name[:90]
            spent[name] = spent.get(name, 0.0) + event.time_range.elapsed_us()
            times[name] += 1
    steps = 4 * GRAPH
    return [
        (n, times[n] / steps, us / steps)
        for n, us in sorted(spent.items(), key=lambda item: -item[1])
    ]


if __name__ == "__main__":
    cli.run("python -m bench.kernels", main)
