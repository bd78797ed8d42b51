"""Does a model know its targets? Trained on several splits, held to limits.

Each split has a seed of its own, for the data and for the training. On each a model is trained that
is told targets by their embedding alone, and one that is told their composition too; the best
averaged weights by one half of what is held out are measured on the other half, each way round, so
that every held-out peptide is measured by weights that it did not select. Pooled figures take the
pairs of all splits together, and their intervals are over whole targets, which may be held out in
several splits.
"""

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench import results
from bench.numbers import between_commas
from mimir import cli
from mimir.data.baselines import measure
from mimir.data.pack import KNOWN, VALIDATION, load, pack
from mimir.data.peptides import Peptides
from mimir.data.split import SELECTION, SELECTION_KNOWN
from mimir.errors import BadInput
from mimir.model.batch import DeviceData
from mimir.model.objective import evaluate
from mimir.output import target_gain
from mimir.submission import prepare
from mimir.training import early_stop
from mimir.training.assemble import assemble
from mimir.training.engine import Engine
from mimir.training.figures import HeldOut
from mimir.training.validation import Validation, ema_weights

REPEATS = 12
WAYS = {"id": "off", "composition": "on"}
"""Arm -> the setting `composition`."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Told:
    """Held-out pairs of one kind, told in three ways. NELBOs in nats, lengths and targets: [N]."""

    own: Array
    shuffled: Array
    untold: Array
    residues: Array
    targets: NDArray[np.int64]

    def level(self, nats: Array) -> float:
        """Nats per residue."""
        return float(nats.sum() / self.residues.sum())

    def over_targets(self, nats: Array) -> tuple[float, float, float]:
        """What `nats` are more than the own, per residue, and its interval over targets."""
        more = nats - self.own
        place = np.unique(self.targets, return_inverse=True)[1].reshape(-1)
        found = target_gain.interval(more, self.residues, place)
        return self.level(more), found.low, found.high

    def over_pairs(self, nats: Array) -> tuple[float, float, float]:
        """As `over_targets`, with its interval over pairs."""
        more = nats - self.own
        found = target_gain.interval(more, self.residues, np.arange(len(more)))
        return self.level(more), found.low, found.high


@dataclass(frozen=True)
class Half:
    """One half of what is held out, measured by weights that the other selected.

    background, baselines: nats per residue. letters: residues of the background.
    """

    step: int
    background: float
    letters: int
    known: Told
    unseen: Told
    choices: float
    """Share of the choices between own and another target that the own wins, known pairs."""
    baselines: dict[str, float]


@dataclass(frozen=True)
class Measured:
    """One trained model on all that is held out of its split. best_steps: of both halves."""

    split: int
    arm: str
    best_steps: tuple[int, int]
    background: float
    known: Told
    unseen: Told
    choices: float
    baselines: dict[str, float]

    @staticmethod
    def of(split: int, arm: str, one: Half, other: Half) -> "Measured":
        """Both halves together, each peptide alike."""
        weights = {
            "background": (one.letters, other.letters),
            "known": (one.known.residues.sum(), other.known.residues.sum()),
            "unseen": (one.unseen.residues.sum(), other.unseen.residues.sum()),
            "choices": (len(one.known.own), len(other.known.own)),
        }

        def mean(kind: str, first: float, second: float) -> float:
            return float(np.average((first, second), weights=weights[kind]))

        return Measured(
            split, arm, (one.step, other.step),
            mean("background", one.background, other.background), _pooled([one.known, other.known]),
            _pooled([one.unseen, other.unseen]),
            mean("choices", one.choices, other.choices),
            {
                name: mean(name.partition("_")[0], value, other.baselines[name])
                for name, value in one.baselines.items()
            },
        )  # fmt: skip


def main(
    *, csv: str, preset: str = "small", splits: str = "0,1,2", steps: int = 4000, jobs: int = 2,
    out: str = "",
) -> None:  # fmt: skip
    """Train and measure models on several splits, and say which figures are within their limits.

    Ends with exit code 1 if one is not. The full data set takes some six minutes a split on one
    thread.

    Args:
        csv: the data set, with the files that `data build` left beside it.
        preset: small, medium, large, smoke, or a YAML file.
        splits: numbers between commas; each is the seed of its split and of its trainings.
        steps: of each training.
        jobs: trainings at once, each on one thread.
        out: folder of the result (default: bench/results).

    Example:
        python -m bench.targets --csv dataset.csv
    """
    numbers = between_commas("splits", splits)
    with tempfile.TemporaryDirectory() as folder:
        packed = []
        for number in numbers:
            path = Path(folder) / f"{number}.safetensors"
            pack(Path(csv), path, seed=number)
            packed.append(path)
        given = [
            (preset, str(path), number, arm, steps)
            for number, path in zip(numbers, packed, strict=True)
            for arm in WAYS
        ]
        with ProcessPoolExecutor(jobs) as pool:
            found = list(pool.map(_trained, *zip(*given, strict=True)))
    rows = [_row(each) for each in found]
    limits = _limits(found)
    result = {
        "machine": results.machine(torch.device("cpu"), 1),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "preset": preset, "steps": steps, "repeats": REPEATS, "rows": rows,
        "limits": [asdict(limit) for limit in limits],
    }  # fmt: skip
    for row in rows:
        print("  ".join(f"{key} {_shown(value)}" for key, value in row.items()))
    for limit in limits:
        print(f"{'within' if limit.holds else 'MISSED':<7} {limit.what}: {_shown(limit.value)}")
    print(f"written: {results.save(result, Path(out) if out else results.FOLDER, 'targets')}")
    if not all(limit.holds for limit in limits):
        raise SystemExit(1)


def _trained(preset: str, data: str, split: int, arm: str, steps: int) -> Measured:
    """Train one arm on one split, in a process of its own."""
    torch.set_num_threads(1)
    settings = {
        "device": "cpu", "threads": 1, "compile": "off", "seed": split, "max_steps": steps,
        "composition": WAYS[arm], "patience": 0, "eval_every": max(1, steps // 8),
        "warmup_steps": 300, "lr": 1.5e-3,
    }  # fmt: skip
    job = prepare(preset, settings, data)
    peptides = load(job.data)
    swapped = _swapped(peptides)
    engine = assemble(job.config, peptides)
    device, objective = torch.device("cpu"), job.config.objective
    rows, every = job.config.training.eval_rows, job.config.training.eval_every
    validation = Validation(peptides, device, rows, objective)
    other = Validation(swapped, device, rows, objective)
    best, lowest, step = engine.state.ema.clone(), math.inf, 0
    while engine.step < engine.total:
        engine.advance(min(every - engine.step % every, engine.total - engine.step))
        if engine.step % every:
            continue
        early_stop.judge(engine, validation.select(engine))
        figure = other.select(engine)
        assert figure is not None
        if figure < lowest:
            best, lowest, step = engine.state.ema.clone(), figure, engine.step
    found = _half(engine, peptides, int(engine.state.best_step))
    engine.state.best.copy_(best)
    return Measured.of(split, arm, found, _half(engine, swapped, step))


def _swapped(peptides: Peptides) -> Peptides:
    """The same, with the half that selects as the one that is reported."""
    split = peptides.split.copy()
    for one, other in ((VALIDATION, SELECTION), (KNOWN, SELECTION_KNOWN)):
        split[peptides.split == one] = other
        split[peptides.split == other] = one
    baselines = measure(
        peptides.tokens, peptides.offsets, peptides.labels, split, peptides.targets,
        peptides.composition,
    )  # fmt: skip
    return replace(peptides, split=split, baselines=baselines)


def _half(engine: Engine, peptides: Peptides, step: int) -> Half:
    """The reported half, measured by the best weights, which are of this step."""
    held = HeldOut.of(peptides, torch.device("cpu"), len(peptides), engine.config.objective)
    timesteps = engine.config.objective.timesteps

    def nats(data: DeviceData, repeats: int = REPEATS) -> Array:
        found: Array = evaluate(engine.model, data, timesteps, repeats=repeats).numpy()
        return found.astype(np.float64)

    def told(own: DeviceData, shuffled: DeviceData, untold: DeviceData) -> Told:
        return Told(
            nats(own), nats(shuffled), nats(untold), own.lengths.numpy().astype(np.float64),
            own.targets.numpy(),
        )  # fmt: skip

    with ema_weights(engine, best=True):
        known = told(held.known, held.shuffled, held.untold)
        unseen = told(held.pairs, held.pairs_shuffled, held.pairs_untold)
        gain = target_gain.measure(
            held.known, held.shuffled, held.untold, engine.model, timesteps, REPEATS
        )
        background = nats(held.background, 2)
    marks = peptides.baselines
    if gain is None or marks.background is None or marks.pairs is None or marks.known is None:
        raise BadInput("something of what is measured is not held out: the data set is too small")
    letters = int(held.background.lengths.sum())
    return Half(
        step, float(background.sum()) / letters, letters, known, unseen, gain.choices.value,
        {
            "background_order2": marks.background.markov2,
            "unseen_composition": marks.pairs.unigram,
            "known_composition": marks.known.unigram,
            "unseen_closed_form": marks.pairs.closed_form or float("nan"),
            "known_closed_form": marks.known.closed_form or float("nan"),
        },
    )  # fmt: skip


def _row(found: Measured) -> dict[str, Any]:
    row: dict[str, Any] = {
        "split": found.split, "arm": found.arm, "best_steps": list(found.best_steps),
        "background": found.background,
    }  # fmt: skip
    for name, pairs in (("known", found.known), ("unseen", found.unseen)):
        row |= {
            f"{name}_pairs": len(pairs.own), f"{name}_own": pairs.level(pairs.own),
            f"{name}_untold": pairs.level(pairs.untold),
            f"{name}_gain": pairs.over_targets(pairs.untold),
            f"{name}_shuffled": pairs.over_targets(pairs.shuffled),
        }  # fmt: skip
    return row | {"known_choices": found.choices, **found.baselines}


@dataclass(frozen=True)
class Limit:
    """A figure, nats per residue or a share, and whether it is within what it is held to."""

    what: str
    value: float
    holds: bool


def _limits(found: Sequence[Measured]) -> list[Limit]:
    """The limits of a model that knows its targets, each with the worst of the splits if no mean is
    named: what held-out protein clusters hold moves the background by more than its limit."""
    by = {arm: [each for each in found if each.arm == arm] for arm in WAYS}
    told = by["composition"]

    def least(what: str, least: float, values: Sequence[float]) -> Limit:
        return Limit(f"{what}, at least {least:g}", min(values), min(values) >= least)

    def most(what: str, most: float, values: Sequence[float]) -> Limit:
        return Limit(f"{what}, at most {most:g}", max(values), max(values) <= most)

    def gains(pick: Callable[[Measured], tuple[float, float, float]], at: int) -> list[float]:
        return [pick(each)[at] for each in told]

    def known(each: Measured) -> tuple[float, float, float]:
        return each.known.over_targets(each.known.untold)

    def unseen(each: Measured) -> tuple[float, float, float]:
        return each.unseen.over_pairs(each.unseen.untold)

    pooled = _pooled([each.unseen for each in told])
    ids = [each.known.over_targets(each.known.untold)[0] for each in by["id"]]
    return [
        most("background above order 2, mean of the splits", 0.002,
             [float(np.mean([each.background - each.baselines["background_order2"]
                             for each in by[arm]])) for arm in WAYS]),
        least("unseen pairs, untold, below the pairs' composition", 0.008,
              [each.baselines["unseen_composition"] - each.unseen.level(each.unseen.untold)
               for each in found]),
        least("known targets, embedding alone: gain, mean of the splits", 0.012,
              [float(np.mean(ids))]),
        least("known targets: gain", 0.040, gains(known, 0)),
        least("known targets: lower end of the gain over targets", 0.0, gains(known, 1)),
        most("known targets: above the closed form", 0.010,
             [each.known.level(each.known.own) - each.baselines["known_closed_form"]
              for each in told]),
        least("unseen targets: gain", 0.004, gains(unseen, 0)),
        least("unseen targets: lower end of the gain over pairs", 0.0, gains(unseen, 1)),
        least("unseen targets, pooled: lower end of the gain over targets", 0.0,
              [pooled.over_targets(pooled.untold)[1]]),
        least("unseen targets: another's target worse than the own", 0.005,
              [each.unseen.over_pairs(each.unseen.shuffled)[0] for each in told]),
        least("known targets: choices that the own target wins", 0.67,
              [each.choices for each in told]),
    ]  # fmt: skip


def _pooled(parts: Sequence[Told]) -> Told:
    return Told(*(
        np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Told)
    ))  # fmt: skip


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        middle, low, high = value
        return f"{middle:+.4f} ({low:+.4f} to {high:+.4f})"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    cli.run("python -m bench.targets", main)
