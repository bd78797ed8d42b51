"""Validates the EMA weights on held-out peptides, with the same masks every time.

The baselines of the data (composition entropy, order-2 Markov) stand beside the figures. They
show when more epochs gain nothing: background windows of proteins are nearly incompressible.
Figures are of the half of the held-out peptides that is reported; what selects is of the other.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch

from mimir.config import Objective
from mimir.data.pack import Peptides
from mimir.runs import figures
from mimir.training.engine import Engine
from mimir.training.figures import MEASURES, HeldOut, Selection

REPEATS = 2
"""Passes over the held-out peptides with other masks."""


@contextmanager
def ema_weights(engine: Engine, *, best: bool = False) -> Iterator[None]:
    """The engine's model holds the EMA weights inside, the live ones again after.

    best: those of the best validation, and not of now.
    """
    state = engine.state
    kept = state.low.clone()
    state.low.copy_(state.best_or_last if best else state.ema)
    try:
        yield
    finally:
        state.low.copy_(kept)


class Validation:
    """Measures an engine on the held-out peptides.

    Args:
        rows: at most this many background peptides, and as many pairs.
        objective: how the engine tells targets.
    """

    def __init__(
        self, peptides: Peptides, device: torch.device, rows: int, objective: Objective
    ) -> None:
        self.held = HeldOut.of(peptides, device, rows, objective)
        self.selection = Selection.of(peptides, device, rows, objective)
        self.baselines = peptides.baselines

    def measure(self, engine: Engine, poll: Callable[[], None]) -> dict[str, Any]:
        """Every figure of `figures.FIGURES` by its key; None where nothing is held out. Beside it,
        under its key and `figures.ERROR`, its standard error, if there is one.

        `poll` is called between the figures and may raise to end the validation.
        """
        values: dict[str, Any] = {}
        timesteps = engine.config.objective.timesteps
        for figure in figures.FIGURES:
            poll()
            with ema_weights(engine):
                found = MEASURES[figure.key](self.held, engine.model, timesteps, REPEATS)
            values[figure.key] = found.value
            if found.error is not None:
                values[figure.key + figures.ERROR] = found.error
        return values

    def select(self, engine: Engine) -> float | None:
        """The figure that selects, lower is better; None where no such peptides are held out."""
        if self.selection is None:
            return None
        with ema_weights(engine):
            return self.selection.measure(engine.model, engine.config.objective.timesteps)

    @property
    def passes(self) -> int:
        """Peptides that one validation takes through the model."""
        return REPEATS * self.held.passes + (self.selection.passes if self.selection else 0)

    def sentence(
        self, step: int, values: dict[str, Any], selected: float | None, best: bool
    ) -> str:
        """The figures for people. selected: what `select` found; best: whether it is the lowest."""
        groups: dict[str, list[str]] = {}  # by their baselines: those of the same peptides
        for figure in figures.FIGURES:
            value = values[figure.key]
            if value is None:
                continue
            shown = figure.line.format(value=value)
            mark = self.baselines.of(figure)
            if mark and figure.beside:
                shown += f" {figure.beside.format(**asdict(mark))}"
            groups.setdefault(figure.baseline, []).append(shown)
        parts = [", ".join(group) for group in groups.values()]
        if selected is not None and self.selection is not None:
            so_far = ", the best so far" if best else ""
            parts.append(f"selection by {self.selection.name}: {selected:.4f}{so_far}")
        parts += self.baselines.unreached(values)
        return f"validation at step {step}: {'; '.join(parts)}".rstrip()
