"""Says how a training ended: what its last steps gained, and what more would have cost."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mimir.runs.figures import SELECTION
from mimir.runs.origin import Origin
from mimir.text import duration


@dataclass(frozen=True)
class End:
    """How a training ended, by the figure that selects (nats per residue, lower is better).

    step: the last. total: the last there would have been without early stopping. cooldown: step at
    which the cooldown began, -1 if it did not. best_step and best: of the best validation; -1 and
    0 if nothing selected. before: the best figure when the cooldown began. last: the last figure.
    rate: steps/s. price: $/h of the machine, None if it is not known.
    """

    step: int
    total: int
    cooldown: int
    best_step: int
    best: float
    before: float
    last: float | None
    rate: float | None = None
    price: float | None = None

    @property
    def sentence(self) -> str:
        """One line for the log and the report."""
        return "; ".join(filter(None, (self._ending, self._gained, self._best)))

    @property
    def _ending(self) -> str:
        if self.step >= self.total:
            return f"took all {self.total:,} steps"
        left = self.total - self.step
        ended = f"ended early at step {self.step:,} of {self.total:,}"
        if not self.rate:
            return ended
        seconds = left / self.rate
        dollars = "" if self.price is None else f" and ${self.price * seconds / 3600:.2f}"
        return f"{ended}: the other {left:,} would have taken {duration(seconds)} more{dollars}"

    @property
    def _gained(self) -> str:
        if self.best_step < 0:
            return ""
        if self.cooldown >= 0 and self.best_step > self.cooldown:
            return (
                f"the cooldown's {self.step - self.cooldown:,} steps improved the held-out figure "
                f"by {self.before - self.best:.4f} nats per residue"
            )
        if self.best_step >= self.step:
            return "the last validation is the best, so more epochs may improve it"
        return (
            f"the held-out figure did not improve in the last {self.step - self.best_step:,} steps"
        )

    @property
    def _best(self) -> str:
        if self.best_step < 0:
            return "no held-out peptides select, so that the last weights are taken as the best"
        best, last = f"{self.best:.4f}", "" if self.last is None else f"{self.last:.4f}"
        end = f", {last} at the end" if last not in ("", best) else ""
        return (
            f"the best weights are those of step {self.best_step:,}, chosen on a separate "
            f"validation half ({best} nats per residue{end})"
        )


def of_rows(
    rows: Sequence[dict[str, Any]], step: int, total: int, patience: int, cooldown_steps: int,
    price: float | None, origin: Origin | None = None,
) -> End:  # fmt: skip
    """How a run ended, from its metrics.

    Args:
        rows: as `parts.read_metrics` gives them.
        step, total: the last, and the last there would have been without early stopping.
        patience: validations without a better one after which the cooldown began; 0: it did not.
        price: $/h of its machine.
        origin: what the run began with; its best weights stay the best until they are beaten.
    """
    own = [(row[SELECTION], row["step"]) for row in rows if row.get(SELECTION) is not None]
    before_it = [(origin.best, origin.best_step)] if origin and origin.best is not None else []
    seen = [*before_it, *own]
    rates = [row["steps_per_s"] for row in rows if row.get("steps_per_s")]
    cooldown = step - cooldown_steps if step < total else _cooldown(seen, total, patience)
    best, best_step = min(seen, default=(0.0, -1))
    before = min((figure for figure, at in seen if at <= cooldown), default=best)
    return End(
        step, total, cooldown, best_step, best, before, own[-1][0] if own else None,
        statistics.median(rates) if rates else None, price,
    )  # fmt: skip


def _cooldown(seen: Sequence[tuple[float, int]], total: int, patience: int) -> int:
    """Step at which the cooldown of a run that took all its steps began, -1 if it did not.

    By the rule of `mimir.training.early_stop.judge`.

    Args:
        seen: figure and step of each validation.
    """
    best, stale = float("inf"), 0
    for figure, step in seen:
        best, stale = (figure, 0) if figure < best else (best, stale + 1)
        if 0 < patience <= stale and step < total:
            return step
    return -1
