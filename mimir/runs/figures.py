"""The held-out figures: one row says what each is called wherever it is stored or shown.

A new figure is one row here and one function in `mimir.training.figures.MEASURES`; metrics,
heartbeat, log, plot, report, `evaluate` and `status` follow from the two.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One figure, measured on peptides that are neither trained on nor select."""

    key: str
    """Its column in the metrics."""
    name: str
    """Its row in the table and the JSON of `evaluate`."""
    meaning: str
    """What it measures, in nats per residue if not said otherwise."""
    line: str
    """In the log, a format of `value`."""
    baseline: str = ""
    """Whose baseline stands beside it: a field of `Baselines`, or "" for none."""
    beside: str = ""
    """That baseline in the log, a format of its fields; "" if the log leaves it out."""
    status: str = ""
    """What `status` calls it; "" if `status` does not show it."""
    told: bool = False
    """Whether each pair's own target is told: the closed form of its baseline is to be reached."""

    @property
    def label(self) -> str:
        """Its name in the report and the plot."""
        return f"held-out {self.name}"


RANKING = "val"
"""Key of the figure that heartbeats and progress lines show."""
SELECTION = "selection"
"""Column of the metrics with the figure that selects the best weights and decides on early
stopping: of held-out peptides that no other figure is of. It is no `Figure`, so that no report
shows it."""

ERROR = "_se"
"""Behind a figure's key: the column with its standard error over the held-out peptides."""

FIGURES: tuple[Figure, ...] = (
    Figure(
        key=RANKING,
        name="background",
        meaning="NELBO of background peptides",
        line="background {value:.4f} nats per residue",
        baseline="background",
        beside="(composition {unigram:.4f}, order-2 Markov {markov2:.4f})",
        status="held-out",
    ),
    Figure(
        key="val_pairs",
        name="pairs of unseen targets",
        meaning="NELBO of pairs whose target was not trained; the model is told of similar targets",
        line="pairs of unseen targets {value:.4f}",
        baseline="pairs",
        told=True,
    ),
    Figure(
        key="val_pairs_shuffled",
        name="unseen, shuffled targets",
        meaning="the same, each with another's target: a higher figure if similar targets help",
        line="with shuffled targets {value:.4f}",
        baseline="pairs",
    ),
    Figure(
        key="val_pairs_untold",
        name="unseen, no target",
        meaning="the same without a target: the difference is what similar targets are worth",
        line="with none {value:.4f}",
        baseline="pairs",
        beside="(composition {unigram:.4f}, closed form of the targets {closed_form:.4f})",
    ),
    Figure(
        key="val_known",
        name="pairs of known targets",
        meaning="NELBO of new peptides of trained targets, each with its own target",
        line="pairs of known targets {value:.4f}",
        baseline="known",
        told=True,
    ),
    Figure(
        key="val_known_shuffled",
        name="known, shuffled targets",
        meaning="the same, each with another's target: a higher figure if the model knows targets",
        line="with shuffled targets {value:.4f}",
        baseline="known",
    ),
    Figure(
        key="val_known_untold",
        name="known, no target",
        meaning="the same without a target: the difference is what the target is worth",
        line="with none {value:.4f}",
        baseline="known",
        beside="(composition {unigram:.4f}, closed form of the targets {closed_form:.4f})",
    ),
)

LOSS = "Training loss (noisy masks)"
GROUPS = (
    ("background", "Held-out background"),
    ("known", "Held-out pairs of known targets"),
    ("pairs", "Held-out pairs of unseen targets"),
)
"""What is drawn together, and its title: the figures that have this baseline."""


def for_heartbeat(values: Mapping[str, float | None]) -> dict[str, float]:
    """The figures that a heartbeat carries beside the ranking one: those that `status` shows."""
    return {
        figure.key: value
        for figure in FIGURES
        if figure.status and figure.key != RANKING
        if (value := values.get(figure.key)) is not None
    }


def from_heartbeat(values: Any) -> dict[str, float]:
    """What a heartbeat says of figures. A machine wrote it: anything but a known one is dropped."""
    if not isinstance(values, dict):
        return {}
    numbers = {
        key: float(value)
        for key, value in values.items()
        if isinstance(value, (int, float)) and abs(value) <= sys.float_info.max
    }
    return for_heartbeat(numbers)


def status_words(values: Mapping[str, float | None]) -> str:
    """The figures as `status` shows them behind the loss, such as ", held-out 2.8700"."""
    return "".join(
        f", {figure.status} {value:.4f}"
        for figure in FIGURES
        if figure.status and (value := values.get(figure.key)) is not None
    )
