"""After how many steps a preset is nearly as good as it gets, as measured: what quality costs.

A run of all epochs pays on for little or nothing. These are one or two runs, on one split of the
guide's data: no promise, but nearer to what one needs to spend than the epochs are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from launch.pricing.workload import GUIDE_PAIRS, GUIDE_ROWS, Workload


@dataclass(frozen=True)
class Plateau:
    """steps: after which no validation was better by WITHIN or more; of several runs, of the one
    that took longest. settings: those that it was measured with, of all sections but `runtime`,
    except for those of NO_MATTER. source: what was measured, and where that is written down."""

    steps: int
    settings: Mapping[str, object]
    source: str


WITHIN = 0.001
"""Nats per residue: of validations that differ by less, the later one is hardly worth its price."""
_ALIKE = {
    "heads": 4, "ffn": 4, "timesteps": 20, "condition_dropout": 0.1, "target_dropout": 0.3,
    "composition": "on", "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.01,
    "final_lr": 0.02, "clip": 1.0, "ema": 0.999, "pair_share": 0.33, "accumulate": 1,
    "hidden_counts": 0.3, "eval_every": 1000,
}  # fmt: skip
"""Settings that all of these presets have."""
MEASURED = {
    "small": Plateau(
        7_000,
        MappingProxyType({
            **_ALIKE, "dim": 128, "layers": 3, "lr": 1e-3, "warmup_steps": 500, "batch": 32,
        }),
        "two runs, by the mean of three kinds, which selects; docs/lab.md, 2026-11-29",
    ),
    "medium": Plateau(
        1_000,
        MappingProxyType({
            **_ALIKE, "dim": 256, "layers": 4, "lr": 6e-4, "warmup_steps": 1000, "batch": 64,
        }),
        "one run, by the mean of three kinds, which selects; docs/lab.md, 2026-11-29",
    ),
}  # fmt: skip
"""By preset. The large preset's was not measured."""
LIKE_GUIDE = 1.2
"""Factor within which data is as large as the guide's, on which all of these were measured."""
NO_MATTER = frozenset({
    "epochs", "max_steps", "seed", "eval_rows", "log_every", "patience", "cooldown_steps",
})  # fmt: skip
"""Settings that may differ: how many steps there are, which is looked at by itself, and what comes
after the plateau."""


def of(work: Workload) -> tuple[Plateau | None, str]:
    """Of this training, and "". None, and why as a clause, where it was not measured so."""
    config = work.config
    found = MEASURED.get(config.preset)
    if found is None:
        return None, f"it was not measured for preset {config.preset}"
    for name, here in settings_of(config.as_dict()).items():
        if name not in found.settings:
            return None, f"it was measured when there was no {name}"
        had = found.settings[name]
        if had != here:
            return None, f"it was measured with {name} {had} only, and this training has {here}"
    if work.steps < found.steps:
        return None, f"it was measured at step {found.steps:,}, and this run has {work.steps:,}"
    for what, count, guide in (
        ("training peptides", work.rows, GUIDE_ROWS), ("pairs", work.pairs, GUIDE_PAIRS),
    ):  # fmt: skip
        if not guide / LIKE_GUIDE <= count <= guide * LIKE_GUIDE:
            return None, f"it was measured on {guide:,} {what} only, and this data has {count:,}"
    return found, ""


def settings_of(body: Mapping[str, object]) -> dict[str, object]:
    """Those of a configuration on which the plateau may depend."""
    return {
        name: value
        for section, own in body.items() if isinstance(own, dict) and section != "runtime"
        for name, value in own.items() if name not in NO_MATTER
    }  # fmt: skip
