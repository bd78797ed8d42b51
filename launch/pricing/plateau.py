"""After how many steps a preset is as good as it gets, as measured: what quality costs.

A run of all epochs pays on for little or nothing. These are single runs, of one seed and one split
of the guide's data: no promise, but nearer to what one needs to spend than the epochs are.
"""

from dataclasses import dataclass

from mimir.config import Config, load_preset
from mimir.errors import BadInput


@dataclass(frozen=True)
class Plateau:
    """steps: at which pairs of known targets were best. source: where that is written down."""

    steps: int
    source: str


MEASURED = {
    "small": Plateau(5_000, "pair_share 0.33, no composition, one seed; docs/lab.md, 2026-11-28"),
}
"""By preset, with the settings of the preset but for those that the source names."""


def of(config: Config) -> Plateau | None:
    """Of this configuration; None where it was not measured, with that model and batch."""
    found = MEASURED.get(config.preset)
    try:
        preset = load_preset(config.preset)
    except BadInput:  # a file of one's own
        return None
    same = preset.model == config.model and preset.training.batch == config.training.batch
    return found if same else None
