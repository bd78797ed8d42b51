"""Runs beside each other: the settings in which they differ, and what they reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launch.pricing.bill import Bill, bill, machine_time
from launch.ui import narrow
from launch.ui.runs import cost_text, state_text, table
from mimir.console import Styled, joined
from mimir.runs.figures import FIGURES
from mimir.runs.head import Head
from mimir.runs.parts import read_metrics
from mimir.runs.record import RunRecord
from mimir.runs.status import Status
from mimir.runs.store import Store

SAMPLES = (
    ("samples_kl", "samples, KL of composition", "{:.3f} nats"),
    ("samples_copies", "  near copies", "{:.0%}"),
    ("samples_unique", "  unique", "{:.0%}"),
    ("samples_novel", "  not in the data", "{:.0%}"),
)
"""Columns of the metrics, what they are called, and how they are shown."""


@dataclass(frozen=True)
class Compared:
    """A run of a comparison. last and best: (step, nats per residue) of each held-out figure, by
    its column in the metrics; the best is the least. samples: figures of those that the last
    validation drew, by column. bill: what its machines took and cost, and what was estimated."""

    record: RunRecord
    status: Status
    last: Mapping[str, tuple[int, float]]
    best: Mapping[str, tuple[int, float]]
    samples: Mapping[str, float]
    bill: Bill


def read(store: Store, record: RunRecord, status: Status, head: Head) -> Compared:
    """The run with its figures, from its metrics. Raises as `read_metrics`."""
    last: dict[str, tuple[int, float]] = {}
    best: dict[str, tuple[int, float]] = {}
    samples: dict[str, float] = {}
    rows = read_metrics(store, record.name, head) if head.lineage else []
    for row in rows:
        drawn = {key: row[key] for key, _, _ in SAMPLES if row.get(key) is not None}
        samples = drawn or samples
        for figure in FIGURES:
            value = row.get(figure.key)
            if value is None:
                continue
            last[figure.key] = (row["step"], value)
            if figure.key not in best or value < best[figure.key][1]:
                best[figure.key] = (row["step"], value)
    return Compared(record, status, last, best, samples, bill(status, status.at))


def differing(records: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """What each run has for a setting in which they differ, None where it has no such setting."""
    flat = [_flat(record) for record in records]
    names = {name: None for each in flat for name in each}
    made = {name: [each.get(name) for each in flat] for name in names}
    return {name: values for name, values in made.items() if any(v != values[0] for v in values)}


def labels(statuses: Sequence[Status]) -> dict[str, list[str]]:
    """Of each label that one of the runs has, the value of each run, "" where it has none."""
    given = [status.about.labels if status.about else {} for status in statuses]
    names = sorted({name for each in given for name in each})
    return {name: [each.get(name, "") for each in given] for name in names}


def text(runs: Sequence[Compared], width: int | None = None) -> Styled:
    """A table with a column for each run.

    width: of the terminal, in characters; None for no limit. A narrow one does without the steps of
    the figures, and gets several tables below each other if the runs still do not fit.
    """
    rows = _rows(runs, whole=True)
    if width is None or narrow.width_of_rows(rows) <= width:
        return table(rows)
    note = narrow.wrapped(f"too narrow for the steps of the figures; {narrow.ELSEWHERE}", width)
    return joined([narrow.in_blocks(_rows(runs, whole=False), width), note], "\n")


def _rows(runs: Sequence[Compared], whole: bool) -> list[tuple[str, ...]]:
    """whole: with the step of each figure, and words that a narrow terminal has no room for."""
    rows: list[tuple[str, ...]] = [("", *(run.record.name for run in runs))]
    given = labels([run.status for run in runs])
    rows += [(f"label {name}", *values) for name, values in given.items()]
    settings = differing([run.record for run in runs])
    rows += [(name, *map(_shown, values)) for name, values in settings.items()]
    rows.append(("state", *(state_text(run.status) for run in runs)))
    rows.append(("step", *(_of_total(run.status) for run in runs)))
    measured = [each for each in FIGURES if any(each.key in run.last for run in runs)]
    if measured and not whole:
        rows.append(("held-out:", *("" for _ in runs)))
    for figure in measured:
        label = figure.label if whole else figure.label.removeprefix("held-out ")
        for what, found in (
            (f"{label}, last", [run.last for run in runs]),
            ("  at its best", [run.best for run in runs]),
        ):
            rows.append((what, *(_figure(each, figure.key, whole) for each in found)))
    for key, what, form in SAMPLES:
        if any(key in run.samples for run in runs):
            shown = (form.format(run.samples[key]) if key in run.samples else "" for run in runs)
            rows.append((what, *shown))
    took = (machine_time(run.bill.hours, at_least=run.bill.at_least) for run in runs)
    rows.append(("time of machines", *took))
    if any(run.bill.estimated_hours is not None for run in runs):
        rows.append((
            "estimated at first",
            *(_hours(run.bill.estimated_hours, run.bill.estimated_dollars) for run in runs),
        ))  # fmt: skip
    rows.append(("cost", *(cost_text(run.bill.dollars, [run.status], why=whole) for run in runs)))
    return rows


def _hours(count: float | None, dollars: float | None = None) -> str:
    if count is None:
        return ""
    return machine_time(count) + (f", ${dollars:.2f}" if dollars is not None else "")


def as_json(runs: Sequence[Compared]) -> dict[str, Any]:
    """The same as plain JSON values."""
    return {
        "settings": differing([run.record for run in runs]),
        "runs": [
            {
                "run": run.record.name, "state": run.status.state, "step": run.status.step,
                "total_steps": run.status.total_steps, "hours": run.bill.hours,
                "at_least": run.bill.at_least,
                "dollars": run.bill.dollars, "estimated_hours": run.bill.estimated_hours,
                "estimated_dollars": run.bill.estimated_dollars, "samples": dict(run.samples),
                "labels": dict(run.status.about.labels) if run.status.about else {},
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


def _figure(found: Mapping[str, tuple[int, float]], key: str, with_step: bool) -> str:
    if key not in found:
        return ""
    step, value = found[key]
    return f"{value:.4f}" + (f" (step {step})" if with_step else "")
