"""The report of one run: facts through a template (run.html)."""

import statistics
from typing import Any

from markupsafe import Markup

from launch.pricing.workload import Workload
from launch.report import again, curves
from launch.report.cells import NONE, hours, number
from launch.report.facts import Attempt, Facts
from launch.report.provenance import digests, settings
from launch.report.render import render
from launch.report.verdict import interval, verdict
from launch.ui.runs import cost_text, end_text, machine_text, note_lines
from mimir.config import Config
from mimir.data.split import KNOWN, VALIDATION
from mimir.output import histogram
from mimir.output.quality import Reference
from mimir.output.sample_tables import Tables, tables
from mimir.runs import figures
from mimir.runs.attempts import AttemptStatus
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
FIRST = 3
"""Rows of metrics by whose speed an estimate is made where none was made before."""


def page(facts: Facts) -> bytes:
    """The report of a run, finished or not, self-contained, as UTF-8."""
    return render(
        "run.html", facts.record.name, "a Mimir run", "run's store", verdict(facts),
        summary(facts), facts=facts, notes=note_lines(facts.status),
        charts=curves.of_run(facts), figures=figure_rows(facts),
        attempts=[_attempt(each, facts.record.name) for each in facts.attempts],
        samples=_samples(facts),
        settings=settings(facts), alerts=_alerts(facts), digests=digests(facts),
        commands=again.commands(facts),
    )  # fmt: skip


def summary(facts: Facts) -> list[tuple[str, str]]:
    """What the run is and took, at a glance."""
    status, bill, peptides = facts.status, facts.bill, facts.peptides
    of = f" of {status.total_steps:,}" if status.total_steps else ""
    devices = dict.fromkeys(each.beat.device for each in facts.attempts if each.beat)
    cost = cost_text(bill.dollars, [status])
    data = ""
    if peptides is not None:
        pairs = int((peptides.labels == 1).sum())
        data = (
            f"{len(peptides):,} peptides, {pairs:,} of them pairs with one of "
            f"{len(peptides.vocabulary):,} targets; held-out ones included"
        )
    elif facts.lost:
        data = f"the data set cannot be used, so baselines are missing: {facts.lost}"
    return [
        ("state", status.state), ("preset", facts.record.preset), ("sweep", status.sweep),
        ("labels", status.about.words if status.about else ""),
        ("began with", status.origin.words if status.origin else ""),
        ("begun", moment(facts.record.created)),
        ("as of", "" if status.state == "done" else moment(status.at)),
        ("steps", f"{status.step:,}{of}"), ("data", data), ("measured on", _held_out(facts)),
        ("weights", f"{_parameters(facts):,}" if peptides is not None else ""),
        ("trained on", ", ".join(filter(None, devices))),
        ("versions", _versions(facts)), ("attempts", str(len(facts.attempts))),
        ("steps a second", _rate(facts)),
        ("time of machines", hours(bill.hours, at_least=bill.at_least)),
        ("estimated at first", hours(bill.estimated_hours, bill.estimated_dollars)
         or _by_first_steps(facts)),
        ("expected at its end", hours(bill.expected_hours, bill.expected_dollars)),
        ("cost", cost), ("exactness", facts.replay or _not_replayed(facts)),
        *_machine(facts), ("memory and disk", _host(facts)),
    ]  # fmt: skip


def _versions(facts: Facts) -> str:
    """Of what the attempts ran on, each once."""
    told = [each.beat.versions for each in facts.attempts if each.beat and each.beat.versions]
    return "; ".join(dict.fromkeys(told))


def _host(facts: Facts) -> str:
    """As `status` prints it, of the newest attempt that told it."""
    beats = [each.beat.telemetry for each in reversed(facts.attempts) if each.beat]
    told = (dict(telemetry.words()).get("host") for telemetry in beats if telemetry is not None)
    return next(filter(None, told), "")


def _not_replayed(facts: Facts) -> str:
    if facts.status.state != "done":
        return ""
    return (
        f"not shown yet: `python -m mimir replay {facts.record.name}` trains the last steps again "
        "and compares every number"
    )


def _held_out(facts: Facts) -> str:
    """How many peptides the figures of the page are of."""
    if facts.peptides is None:
        return ""
    parts = (
        (VALIDATION, 0, "background"), (KNOWN, 1, "pairs of known targets"),
        (VALIDATION, 1, "pairs of unseen targets"),
    )  # fmt: skip
    most = Config.from_dict(facts.record.config).training.eval_rows
    rows = [(facts.peptides.spread(split, label, most), what) for split, label, what in parts]
    counts = [(len(found), what) for found, what in rows]
    return ", ".join(f"{count:,} {what}" for count, what in counts if count)


def _parameters(facts: Facts) -> int:
    assert facts.peptides is not None
    config = Config.from_dict(facts.record.config)
    rows, targets = max(len(facts.peptides), config.training.batch), len(facts.peptides.vocabulary)
    return Workload(config, rows, targets=targets).parameters


def _rate(facts: Facts) -> str:
    """The median over the rows of the metrics."""
    rates = [row["steps_per_s"] for row in facts.rows if row.get("steps_per_s")]
    return f"{statistics.median(rates):.4g}" if rates else ""


def _by_first_steps(facts: Facts) -> str:
    """How long all steps would take at the first speeds that were measured: a machine without a
    price has no forecast."""
    early = [row for row in facts.rows if (row.get("steps_per_s") or 0) > 0][:FIRST]
    if not early or not facts.status.total_steps:
        return ""
    rate = statistics.median(row["steps_per_s"] for row in early)
    took = duration(facts.status.total_steps / rate)
    return f"{took} of training, by the speed of the first {early[-1]['step']:,} steps"


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


def _attempt(attempt: Attempt, run: str) -> tuple[str, ...]:
    """A row of the table: number, machine, when and by whom it was ordered, device, the step that
    it went on from, why it ended, lost, took."""
    status, beat = attempt.status, attempt.beat
    cause = _CAUSES.get(status.cause) or (_GONE.get(status.gone.kind) if status.gone else "")
    end = end_text(run, status.end) or "at work"
    why = f"{end} ({cause})" if cause and status.end else end
    lost = "–"
    if attempt.lost is not None:
        rate = beat.rate if beat else None
        seconds = attempt.lost / rate if rate else 0.0
        about = f", about {duration(seconds)}" if seconds >= 1 else ", less than a second"
        about = about if rate else ""
        lost = f"{attempt.lost:,} steps{about}" if attempt.lost else "nothing"
    took = hours(attempt.hours, attempt.dollars, at_least=attempt.at_least) or NONE
    how = beat.execution.words if beat and beat.execution else ""
    device = "; ".join(filter(None, (beat.device if beat else "", how)))
    began = "not begun" if status.from_step is None else f"step {status.from_step:,}"
    return (
        str(status.attempt), machine_text(status.machine), _ordered(status), device or NONE, began,
        why, lost, took,
    )  # fmt: skip


def _ordered(status: AttemptStatus) -> str:
    """When the attempt began, and who ordered it."""
    order, machine = status.order, status.machine
    at = order.time if order is not None else machine.started if machine is not None else None
    by = f" by {order.by}" if order is not None and order.by else ""
    return NONE if at is None else f"{moment(at)}{by}"


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
