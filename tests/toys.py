"""Small data sets, configurations and engines, the same at every call."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mimir.config import Config
from mimir.data.alphabet import N_STANDARD, encode
from mimir.data.baselines import Baseline, Baselines
from mimir.data.likeness import Described
from mimir.data.pack import KNOWN, TRAIN, VALIDATION
from mimir.data.peptides import Peptides
from mimir.data.split import SELECTION, SELECTION_KNOWN
from mimir.model.batch import DeviceData
from mimir.training.engine import Engine
from mimir.training.machine import Machine

TARGETS = 3
EXACT = Machine(torch.device("cpu"), torch.float32, compiled=False, fixed=False)
FIXED = Machine(torch.device("cpu"), torch.float32, compiled=False, fixed=True)
HALF = Machine(torch.device("cpu"), torch.float16, compiled=False, fixed=False)

TINY: dict[str, Any] = {
    "dim": 16, "layers": 2, "heads": 2, "batch": 8, "epochs": 4, "log_every": 5,
    "warmup_steps": 5, "lr": 5e-3, "ema": 0.9,
}  # fmt: skip


def config(**settings: Any) -> Config:
    """A configuration that trains in milliseconds."""
    return Config("toy").with_settings({**TINY, **settings})


def peptides(rows: int = 100, lengths: list[int] | None = None) -> Peptides:
    """Random peptides, every third a pair, every tenth held out; all targets are known."""
    random = np.random.default_rng(5)
    size = np.array(lengths) if lengths is not None else random.integers(4, 21, rows)
    rows = len(size)
    labels = (np.arange(rows) % 3 == 0).astype(np.uint8)
    targets = np.where(labels == 1, random.integers(0, TARGETS, rows), -1).astype(np.int16)
    held = np.where(labels == 1, KNOWN, VALIDATION)
    mark = Baseline(uniform=2.9957, unigram=2.9, markov2=2.89, residues=100)
    return Peptides(
        tokens=random.integers(0, N_STANDARD, int(size.sum())).astype(np.uint8),
        offsets=np.concatenate([[0], np.cumsum(size)]).astype(np.int32),
        labels=labels,
        targets=targets,
        split=np.where(np.arange(rows) % 10 == 9, held, TRAIN).astype(np.uint8),
        described=described(),
        vocabulary=tuple(f"P{number:05d}" for number in range(TARGETS)),
        baselines=Baselines(mark, *[replace(mark, closed_form=2.88)] * 2),
        digest="d" * 64,
        source="c" * 64,
    )


def halved(data: Peptides) -> Peptides:
    """The same with every other held-out peptide of each kind in the half that selects."""
    split = data.split.copy()
    for reported, label, selecting in (
        (VALIDATION, 0, SELECTION), (VALIDATION, 1, SELECTION), (KNOWN, 1, SELECTION_KNOWN),
    ):  # fmt: skip
        split[data.subset(reported, label)[::2]] = selecting
    return replace(data, split=split)


def described() -> Described:
    """Sequences of the targets: the first two are alike, the third is a protein apart."""
    first, other = "MKVLWAACDEFGHIKLMNPQRSTVWY", "GGHHYYPPQQRRSSTTVVWW"
    proteins = [encode(text) for text in (first, first[3:] + "MM", other)]
    offsets = np.cumsum([0, *map(len, proteins)]).astype(np.int64)
    return Described(np.concatenate(proteins), offsets, np.zeros((TARGETS, 0), np.float32))


def device_data(data: Peptides | None = None, **settings: Any) -> DeviceData:
    """The training peptides of a data set."""
    data = data or peptides()
    objective = config(**settings).objective
    return DeviceData.of(data, data.subset(TRAIN), torch.device("cpu"), objective)


def engine(machine: Machine = EXACT, data: Peptides | None = None, **settings: Any) -> Engine:
    """An engine at step 0."""
    return Engine(config(**settings), device_data(data, **settings), TARGETS, machine)


def generator() -> torch.Generator:
    """Random numbers, the same at every call."""
    return torch.Generator().manual_seed(0)


def tensors(trained: Engine) -> dict[str, torch.Tensor]:
    """A copy of the whole state."""
    return {name: value.clone() for name, value in trained.state.tensors().items()}


def overflowing(engine: Engine, steps: set[int]) -> None:
    """Make the gradient of these steps overflow."""
    straight = engine._loss

    def with_overflow(*inputs: Any) -> torch.Tensor:
        loss = straight(*inputs)
        return loss * float("inf") if int(engine.state.step) in steps else loss

    engine._loss = with_overflow
