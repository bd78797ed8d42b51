"""After how many steps a preset is as good as it gets, as measured: what quality costs.

A run of all epochs pays on for little or nothing. These are single runs, of one seed and one split
of the guide's data: no promise, but nearer to what one needs to spend than the epochs are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from launch.pricing.workload import GUIDE_PAIRS, GUIDE_ROWS, Workload
from mimir.config import load_preset
from mimir.errors import BadInput


@dataclass(frozen=True)
class Plateau:
    """steps: at which what was measured was best. settings: those that it was measured with, of
    all sections but `runtime`, except for those of NO_MATTER. source: what was measured, and where
    that is written down."""

    steps: int
    settings: Mapping[str, object]
    source: str


MEASURED = {
    "small": Plateau(
        5_000,
        MappingProxyType({
            "dim": 128, "layers": 3, "heads": 4, "ffn": 4,
            "timesteps": 20, "condition_dropout": 0.1, "target_dropout": 0.1, "composition": "off",
            "lr": 1e-3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.01,
            "warmup_steps": 500, "final_lr": 0.02, "clip": 1.0, "ema": 0.999,
            "batch": 32, "pair_share": 0.33, "accumulate": 1, "eval_every": 1000,
        }),
        "by pairs of known targets, where the mean of three kinds selects now; one run of 8,000 "
        "steps; docs/lab.md, 2026-11-28",
    ),
}  # fmt: skip
"""By preset. The medium and large presets' were not measured."""
LIKE_GUIDE = 1.2
"""Factor within which data is as large as the guide's, on which all of these were measured."""
NO_MATTER = frozenset({
    "epochs", "max_steps", "seed", "eval_rows", "log_every", "patience", "cooldown_steps",
    "hidden_counts",
})  # fmt: skip
"""Settings that may differ: how many steps there are, which is looked at by itself, what comes
after the plateau, and what changes nothing without a composition."""
TOLD = ("target_dropout", "composition")
"""Settings that presets have had otherwise since then: that is told, not refused."""


def of(work: Workload) -> tuple[Plateau | None, str]:
    """Of this training, and "". None, and why as a clause, where it was not measured so."""
    config = work.config
    found = MEASURED.get(config.preset)
    if found is None:
        return None, f"it was not measured for preset {config.preset}"
    try:
        preset = _settings(load_preset(config.preset).as_dict())
    except BadInput:  # a file of one's own
        return None, "it was measured for Mimir's own presets alone"
    told = []
    for name, here in _settings(config.as_dict()).items():
        if name not in found.settings:
            return None, f"it was measured when there was no {name}"
        had = found.settings[name]
        if had == here:
            continue
        if name not in TOLD or here != preset[name]:
            return None, f"it was measured with {name} {had} only, and this training has {here}"
        told.append((f"{name} {had}", str(here)))
    if work.steps < found.steps:
        return None, f"it was measured at step {found.steps:,}, and this run has {work.steps:,}"
    for what, count, guide in (
        ("training peptides", work.rows, GUIDE_ROWS), ("pairs", work.pairs, GUIDE_PAIRS),
    ):  # fmt: skip
        if not guide / LIKE_GUIDE <= count <= guide * LIKE_GUIDE:
            return None, f"it was measured on {guide:,} {what} only, and this data has {count:,}"
    if not told:
        return found, ""
    there, here = (" and ".join(words) for words in zip(*told, strict=True))
    return replace(found, source=f"measured with {there}, here {here}; {found.source}"), ""


def _settings(body: Mapping[str, object]) -> dict[str, object]:
    """Those of a configuration on which the plateau may depend."""
    return {
        name: value
        for section, own in body.items() if isinstance(own, dict) and section != "runtime"
        for name, value in own.items() if name not in NO_MATTER
    }  # fmt: skip
