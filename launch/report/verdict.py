"""Says in sentences what a run's held-out figures mean, and how it ended."""

import math
from typing import Any

from launch.report.facts import Facts
from mimir.data.baselines import Baselines
from mimir.runs.figures import ERROR, RANKING
from mimir.text import countdown

SIGMAS = 1.96
"""Standard errors on either side of a value that a 95 % interval covers."""
NATS = "nats per residue"


def interval(row: dict[str, Any], key: str) -> tuple[float, float] | None:
    """The 95 % interval of a figure; None if its machine did not tell its standard error."""
    value, error = row.get(key), row.get(key + ERROR)
    if value is None or error is None:
        return None
    return value - SIGMAS * error, value + SIGMAS * error


def verdict(facts: Facts) -> list[str]:
    """How the run stands and what its model is worth, the most important first."""
    row, marks = facts.validation, facts.peptides.baselines if facts.peptides else None
    found = [_state(facts)]
    if not row:
        unknown = "nothing is known of how good the model is"
        none = f"No held-out figure has been measured yet: {unknown}."
        return [*found, facts.unmeasured or none]
    if marks is not None:
        found += filter(None, [_background(row, marks)])
        found += [f"{one[0].upper()}{one[1:]}." for one in marks.unreached(row)]
    for own, shuffled, untold, whom in (
        ("val_known", "val_known_shuffled", "val_known_untold", "known targets"),
        ("val_pairs", "val_pairs_shuffled", "val_pairs_untold", "unseen targets"),
    ):
        found += filter(None, [_conditioning(row, own, shuffled, untold, whom)])
    return found


def _state(facts: Facts) -> str:
    status, end = facts.status, facts.end
    if end is not None:
        return f"Training is done: the run {end.sentence}."
    if status.state == "done":
        return f"Training is done: the run ended at step {status.step:,}."
    of = f" of {status.total_steps:,}" if status.total_steps else ""
    left = f", {countdown(status.eta_s)} left" if status.eta_s is not None else ""
    why = f": {status.reason}" if status.reason else ""
    return f"The run is not finished: it is {status.state} at step {status.step:,}{of}{left}{why}."


def _background(row: dict[str, Any], marks: Baselines) -> str:
    value, mark = row.get(RANKING), marks.background
    if value is None or mark is None:
        return ""
    best = min(mark.unigram, mark.markov2)
    name = "the order-2 Markov model" if best == mark.markov2 else "the composition alone"
    if value > mark.unigram and value > mark.markov2:
        return (
            f"Background: the model ({value:.4f} {NATS}) is worse than {name} ({best:.4f}), which "
            "only counts letters: it needs more training."
        )
    if value <= best:
        said = f"Background: the model ({value:.4f} {NATS}) is better than {name} ({best:.4f})"
        error = row.get(RANKING + ERROR)
        if error is None or best - value >= SIGMAS * error:
            return f"{said}."
        return f"{said}, but by less than the figure's own uncertainty (±{SIGMAS * error:.4f})."
    return (
        f"Background: the model ({value:.4f} {NATS}) lies between the composition entropy "
        f"({mark.unigram:.4f}) and the order-2 Markov model ({mark.markov2:.4f})."
    )


def _conditioning(row: dict[str, Any], own: str, shuffled: str, untold: str, whom: str) -> str:
    """Whether a model uses what it is told of targets, by its own against another's and none."""
    told, other, none = (row.get(key) for key in (own, shuffled, untold))
    if told is None or other is None or none is None:
        return ""
    errors = [error for key in (own, untold) if (error := row.get(key + ERROR)) is not None]
    gain = none - told
    # The same peptides are measured both ways, so that the difference is surer than this.
    spread = SIGMAS * math.hypot(*errors) if len(errors) == 2 else None
    sure = f", with an uncertainty of at most ±{spread:.4f}" if spread is not None else ""
    beside = f"{gain:+.4f} {NATS} over no target{sure}; {other - told:+.4f} over another's"
    if gain <= 0 or other <= told:
        return f"Pairs of {whom}: the model makes no use of the target ({beside})."
    if spread is not None and gain < spread:
        return (
            f"Pairs of {whom}: the model seems to use the target, but too few pairs are held out "
            f"to be sure ({beside})."
        )
    return f"Pairs of {whom}: the model uses the target ({beside})."
