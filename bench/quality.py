"""Steps and seconds to a quality, of several ways to train: `python -m bench.quality`.

Arms differ in batch and optimizer and see as many peptides each. They take turns within one
process, and are measured on the same masks of the same held-out peptides, so that differences
between them are steadier than the figures themselves. Muon is tried here only: see docs/lab.md.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench import results
from bench.numbers import between_commas
from mimir import cli
from mimir.config import Config, Optimizer
from mimir.data.pack import Peptides, load
from mimir.errors import BadInput
from mimir.submission import prepare
from mimir.text import nearest
from mimir.training.assemble import assemble
from mimir.training.engine import Engine
from mimir.training.state import TrainingState
from mimir.training.update import unfused
from mimir.training.validation import Validation

MUON_RATE = 0.02
"""Of the update's root mean square; 0.01 and 0.04 were worse on the synthetic chain."""
POINTS = 8
"""Validations of each arm."""


@dataclass(frozen=True)
class Arm:
    """A way to train. batch, lr: in place of the preset's."""

    batch: int
    lr: float
    muon: bool = False


ARMS = {
    "adamw-32": Arm(32, 1e-3),
    "muon-32": Arm(32, 1e-3, muon=True),
    "adamw-256": Arm(256, 2e-3),
    "muon-256": Arm(256, 2e-3, muon=True),
}


class Muon:
    """The update of `mimir.training.update.unfused`, with Muon for the blocks' matrices.

    Their gradients are taken from AdamW, which then only decays them; Muon's rate follows the same
    schedule. In float32 only.
    """

    def __init__(self, engine: Engine) -> None:
        state = engine.state
        self._lr = engine.config.optimizer.lr
        self._spans = [
            span for span in state.spans
            if span.name.startswith("blocks.") and len(span.shape) == 2
        ]  # fmt: skip
        views = [state.master[s.start : s.stop].view(s.shape) for s in self._spans]
        self._weights = [nn.Parameter(view) for view in views]
        self._muon = torch.optim.Muon(
            self._weights, lr=MUON_RATE, weight_decay=0.0, momentum=0.95, nesterov=True
        )

    def __call__(self, state: TrainingState, loss: Tensor, settings: Optimizer, total: int) -> None:
        norm = torch.linalg.vector_norm(state.low_grad)
        state.low_grad.mul_((settings.clip / (norm + 1e-6)).clamp(max=1.0))
        for span, weight in zip(self._spans, self._weights, strict=True):
            part = state.low_grad[span.start : span.stop]
            weight.grad = part.clone().view(span.shape)
            part.zero_()
        # The average is taken by `unfused` before Muon moves the matrices: one step late.
        unfused(state, loss, settings, total)
        for group in self._muon.param_groups:
            group["lr"] = MUON_RATE * float(state.rate) / self._lr
        self._muon.step()


def main(
    *,
    data: str,
    preset: str = "small",
    arms: str = ",".join(ARMS),
    seeds: str = "0",
    peptides: int = 128_000,
    threads: int = 1,
    out: str = "",
) -> None:
    """Train each arm on as many peptides and print its held-out figures on the way.

    Args:
        data: a packed data set.
        preset: small, medium, large, smoke, or a YAML file.
        arms: some of adamw-32, muon-32, adamw-256, muon-256.
        seeds: numbers between commas.
        peptides: that each arm is trained on; 128,000 are 4,000 steps of 32.
        threads: CPU threads.
        out: folder of the result (default: bench/results).

    Example:
        python -m bench.quality --data full.safetensors --arms adamw-32,muon-32
    """
    chosen = [word.strip() for word in str(arms).replace("(", "").replace(")", "").split(",")]
    for name in chosen:
        if name not in ARMS:
            raise BadInput(f"there is no arm {name!r}{nearest(name, list(ARMS))}")
    numbers = between_commas("seeds", seeds)
    job = prepare(preset, {"device": "cpu", "threads": threads, "compile": "off"}, data)
    torch.set_num_threads(threads)
    packed = load(job.data)
    found: list[dict[str, Any]] = []
    for seed in numbers:
        found += _race(job.config, packed, chosen, seed, peptides)
    result = {
        "machine": results.machine(torch.device("cpu"), threads),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "preset": preset, "peptides": peptides, "rows": found,
    }  # fmt: skip
    path = results.save(result, Path(out) if out else results.FOLDER, "quality")
    print(f"written: {path}")


def _race(
    base: Config, packed: Peptides, names: Sequence[str], seed: int, peptides: int
) -> list[dict[str, Any]]:
    """Rows of figures of all arms with one seed, which take turns."""
    engines = {}
    validation = Validation(packed, torch.device("cpu"), base.training.eval_rows, base.objective)
    for name in names:
        arm = ARMS[name]
        steps = peptides // arm.batch
        config = base.with_settings({
            "seed": seed, "batch": arm.batch, "lr": arm.lr, "max_steps": steps,
            "warmup_steps": max(1, steps * 300 // 4000),
        })  # fmt: skip
        engine = engines[name] = assemble(config, packed)
        if arm.muon:
            engine._update = Muon(engine)
    rows, seconds = [], dict.fromkeys(names, 0.0)
    for point in range(1, POINTS + 1):
        for name, engine in engines.items():
            goal, begin = engine.total * point // POINTS, time.process_time()
            while engine.step < goal:
                engine.advance(goal - engine.step)
            seconds[name] += time.process_time() - begin
            figures = validation.measure(engine, _never)
            row = {
                "seed": seed, "arm": name, "step": engine.step, "cpu_s": round(seconds[name], 1),
                "select": validation.select(engine), **figures,
            }  # fmt: skip
            rows.append(row)
            print(_line(row), flush=True)
    return rows


def _never() -> None:
    """Nothing ends a validation here."""


def _line(row: dict[str, Any]) -> str:
    words = [f"seed {row['seed']} {row['arm']:>10} step {row['step']:>6} {row['cpu_s']:>7.1f} s"]
    words += [f"{k} {v:.4f}" for k, v in row.items() if isinstance(v, float) and k != "cpu_s"]
    return "  ".join(words)


if __name__ == "__main__":
    cli.run("python -m bench.quality", main)
