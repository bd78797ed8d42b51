"""Runs beside each other: the settings in which they differ, and what they reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launch.pricing import bill
from launch.ui.runs import state_text, table
from mimir.console import Styled
from mimir.runs.figures import FIGURES
from mimir.runs.head import Head
from mimir.runs.parts import read_metrics
from mimir.runs.record import RunRecord
from mimir.runs.status import Status
from mimir.runs.store import Store


@dataclass(frozen=True)
class Compared:
    """A run of a comparison. last and best: (step, nats per residue) of each held-out figure, by
    its column in the metrics; the best is the least. dollars: None if no machine had a price."""

    record: RunRecord
    status: Status
    last: Mapping[str, tuple[int, float]]
    best: Mapping[str, tuple[int, float]]
    hours: float
    dollars: float | None


def read(store: Store, record: RunRecord, status: Status, head: Head) -> Compared:
    """The run with its figures, from its metrics. Raises as `read_metrics`."""
    last: dict[str, tuple[int, float]] = {}
    best: dict[str, tuple[int, float]] = {}
    rows = read_metrics(store, record.name, head) if head.lineage else []
    for row in rows:
        for figure in FIGURES:
            value = row.get(figure.key)
            if value is None:
                continue
            last[figure.key] = (row["step"], value)
            if figure.key not in best or value < best[figure.key][1]:
                best[figure.key] = (row["step"], value)
    made = bill.bill(status, status.at)
    return Compared(record, status, last, best, made.hours, made.dollars)


def differing(records: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """What each run has for a setting in which they differ, None where it has no such setting."""
    flat = [_flat(record) for record in records]
    names = {name: None for each in flat for name in each}
    made = {name: [each.get(name) for each in flat] for name in names}
    return {name: values for name, values in made.items() if any(v != values[0] for v in values)}


def text(runs: Sequence[Compared]) -> Styled:
    """A table with a column for each run."""
    rows: list[tuple[str, ...]] = [("", *(run.record.name for run in runs))]
    settings = differing([run.record for run in runs])
    rows += [(name, *map(_shown, values)) for name, values in settings.items()]
    rows.append(("state", *(state_text(run.status) for run in runs)))
    rows.append(("step", *(_of_total(run.status) for run in runs)))
    for figure in FIGURES:
        if any(figure.key in run.last for run in runs):
            rows.append((f"{figure.label}, last", *(_figure(run.last, figure.key) for run in runs)))
            rows.append(("  at its best", *(_figure(run.best, figure.key) for run in runs)))
    rows.append(("hours of machines", *(f"{run.hours:.1f}" for run in runs)))
    if any(run.dollars is not None for run in runs):
        costs = ("" if run.dollars is None else f"${run.dollars:.2f}" for run in runs)
        rows.append(("cost", *costs))
    return table(rows)


def as_json(runs: Sequence[Compared]) -> dict[str, Any]:
    """The same as plain JSON values."""
    return {
        "settings": differing([run.record for run in runs]),
        "runs": [
            {
                "run": run.record.name, "state": run.status.state, "step": run.status.step,
                "total_steps": run.status.total_steps, "hours": run.hours, "dollars": run.dollars,
                "last": {key: list(value) for key, value in run.last.items()},
                "best": {key: list(value) for key, value in run.best.items()},
            }
            for run in runs
        ],
    }  # fmt: skip


def _flat(record: RunRecord) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in record.config.items():
        found.update(value if isinstance(value, dict) else {name: value})
    return {**found, "data": record.data.sha256[:12] if record.data else None}


def _shown(value: Any) -> str:
    return "" if value is None else f"{value}"


def _of_total(status: Status) -> str:
    return f"{status.step}" + (f" of {status.total_steps}" if status.total_steps else "")


def _figure(found: Mapping[str, tuple[int, float]], key: str) -> str:
    if key not in found:
        return ""
    step, value = found[key]
    return f"{value:.4f} (step {step})"
