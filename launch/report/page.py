"""The report of one run: facts through a template (run.html)."""

from typing import Any

from markupsafe import Markup

from launch.report import curves
from launch.report.cells import NONE, hours, number
from launch.report.facts import Attempt, Facts
from launch.report.provenance import digests, settings
from launch.report.render import render
from launch.report.verdict import interval, verdict
from launch.ui.runs import machine_text
from mimir.output import histogram
from mimir.output.quality import Reference
from mimir.output.sample_tables import Tables, tables
from mimir.runs import figures
from mimir.text import duration, moment

SHOWN = 20
"""Samples that are printed."""
_CAUSES = {
    "deadline": "its deadline came", "stop": "a request to stop", "signal": "ended from outside",
    "host": "the machine was less than what was ordered",
}  # fmt: skip
_GONE = {
    "over": "done with", "eviction": "taken away", "failure": "broke",
    "placement": "less than what was ordered", "refused": "never there",
}  # fmt: skip
_OF_GPU = (
    ("GPU busy", "{mean:.0%} of the time"), ("GPU memory", "{most:.1f} GB at most"),
    ("GPU power", "{mean:.0f} W"), ("GPU temperature", "{most:.0f} °C at most"),
)  # fmt: skip
MOST_ALERTS = 30


def page(facts: Facts) -> bytes:
    """The report of a run, finished or not, self-contained, as UTF-8."""
    return render(
        "run.html", facts.record.name, "a Mimir run", "run's store", verdict(facts),
        summary(facts), facts=facts, charts=curves.of_run(facts), figures=figure_rows(facts),
        attempts=[_attempt(each) for each in facts.attempts], samples=_samples(facts),
        settings=settings(facts), alerts=_alerts(facts), digests=digests(facts),
    )  # fmt: skip


def summary(facts: Facts) -> list[tuple[str, str]]:
    """What the run is and took, at a glance."""
    status, bill, peptides = facts.status, facts.bill, facts.peptides
    of = f" of {status.total_steps:,}" if status.total_steps else ""
    devices = dict.fromkeys(each.beat.device for each in facts.attempts if each.beat)
    cost = f"${bill.dollars:.2f}" if bill.dollars is not None else "nothing: no machine had a price"
    data = ""
    if peptides is not None:
        data = f"{len(peptides):,} peptides, {len(peptides.vocabulary):,} targets"
    elif facts.lost:
        data = f"the data set cannot be used, so baselines are missing: {facts.lost}"
    return [
        ("state", status.state), ("preset", facts.record.preset), ("sweep", status.sweep),
        ("began with", status.origin.words if status.origin else ""),
        ("begun", moment(facts.record.created)),
        ("as of", "" if status.state == "done" else moment(status.at)),
        ("steps", f"{status.step:,}{of}"), ("data", data),
        ("trained on", ", ".join(filter(None, devices))),
        ("attempts", str(len(facts.attempts))),
        ("hours of machines", hours(bill.hours)),
        ("estimated at first", hours(bill.estimated_hours, bill.estimated_dollars)),
        ("expected at its end", hours(bill.expected_hours, bill.expected_dollars)),
        ("cost", cost), *_machine(facts),
    ]  # fmt: skip


def _machine(facts: Facts) -> list[tuple[str, str]]:
    """What the GPUs did, over all rows of the metrics that tell it."""
    told = {
        key: [row[key] for row in facts.rows if row.get(key) is not None]
        for key in ("gpu_busy", "gpu_memory_gb", "gpu_watts", "gpu_celsius_most")
    }
    return [
        (what, words.format(most=max(values), mean=sum(values) / len(values)))
        for (what, words), values in zip(_OF_GPU, told.values(), strict=True)
        if values
    ]


def _alerts(facts: Facts) -> list[tuple[str, ...]]:
    """The newest of what is worth a warning."""
    return [
        (moment(each.time), each.level, str(each.attempt or "–"), each.text)
        for each in facts.alerts[-MOST_ALERTS:]
    ]


def figure_rows(facts: Facts) -> list[tuple[str, ...]]:
    """Each held-out figure with its interval beside its baselines."""
    row = facts.validation
    found: list[tuple[str, ...]] = []
    for figure in figures.FIGURES:
        value, mark, between = row.get(figure.key), curves.baseline(facts, figure), None
        if value is not None:
            between = interval(row, figure.key)
        form = facts.peptides.baselines.closed_form(figure) if facts.peptides else None
        found.append((
            figure.label, figure.meaning, number(value),
            f"{between[0]:.4f} to {between[1]:.4f}" if between else "–",
            number(mark.unigram if mark else None), number(mark.markov2 if mark else None),
            number(form),
        ))  # fmt: skip
    return found


def _attempt(attempt: Attempt) -> tuple[str, ...]:
    """A row of the table: number, machine, device, begun at, why it ended, lost, took."""
    status, beat = attempt.status, attempt.beat
    cause = _CAUSES.get(status.cause) or (_GONE.get(status.gone.kind) if status.gone else "")
    end = status.end or "at work"
    why = f"{end} ({cause})" if cause and status.end else end
    lost = "–"
    if attempt.lost is not None:
        rate = beat.rate if beat else None
        about = f", about {duration(attempt.lost / rate)}" if rate and attempt.lost else ""
        lost = f"{attempt.lost:,} steps{about}" if attempt.lost else "nothing"
    took = hours(attempt.hours, attempt.dollars) or NONE
    how = beat.execution.words if beat and beat.execution else ""
    device = "; ".join(filter(None, (beat.device if beat else "", how)))
    began = "not begun" if status.from_step is None else f"step {status.from_step:,}"
    return (
        str(status.attempt), machine_text(status.machine), device or "–", began, why, lost, took,
    )  # fmt: skip


def _samples(facts: Facts) -> dict[str, Any]:
    """Samples and what is to be known of them: of a finished run those that it left, with tables,
    of any other the few of its last validation that drew some."""
    if facts.left is None or not facts.left.samples or facts.peptides is None:
        none: dict[str, Any] = {}
        drawn = next((row for row in reversed(facts.rows) if row.get("samples")), none)
        return {"few": drawn.get("samples", ()), "step": drawn.get("step"), "tables": None}
    left = facts.left
    found = tables(facts.peptides, left.samples, left.told)
    return {
        "few": left.samples[:SHOWN], "count": len(left.samples),
        "quality": Reference(facts.peptides).quality(left.samples).sentence,
        "tables": found, "size": round(next(iter(found.likeness.values()))["peptides"]),
        "plots": _plots(found),
    }  # fmt: skip


def _plots(found: Tables) -> list[Markup]:
    # Made of numbers and of the names of our own properties, which `histogram` escapes.
    return [
        Markup(histogram.svg(name, real, drawn)) for name, (drawn, real) in found.values.items()
    ]
