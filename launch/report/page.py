"""Makes the page: the facts of a run through the template, as one HTML file that fetches nothing.

All text is escaped here, once: the template prints no value that has not gone through `_shown`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from launch.report.chart import Chart, Line, Mark, chart
from launch.report.facts import Attempt, Facts
from launch.report.verdict import SIGMAS, interval, verdict
from launch.ui.runs import machine_text
from mimir import __version__
from mimir.data import terms
from mimir.data.baselines import Baseline
from mimir.output import histogram
from mimir.output.quality import Reference
from mimir.output.sample_tables import Tables, tables
from mimir.runs import figures
from mimir.text import duration, moment, visible

TEMPLATE = Path(__file__).with_name("page.html")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The page runs nothing and fetches nothing, whatever it holds."""
SHOWN = 20
"""Samples that are printed."""
_GROUPS = (
    ("background", "Held-out background"),
    ("known", "Held-out pairs of known targets"),
    ("pairs", "Held-out pairs of unseen targets"),
)
_CAUSES = {
    "deadline": "its deadline came", "stop": "a request to stop", "signal": "ended from outside",
    "host": "the machine was less than what was ordered",
}  # fmt: skip
_GONE = {
    "over": "done with", "eviction": "taken away", "failure": "broke",
    "placement": "less than what was ordered", "refused": "never there",
}  # fmt: skip
NONE = "–"
"""Where a figure was not measured."""


def page(facts: Facts) -> bytes:
    """The report of a run, finished or not, self-contained, as UTF-8."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, finalize=_shown,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    text = environment.get_template(TEMPLATE.name).render(
        facts=facts, policy=POLICY, version=__version__, summary=summary(facts),
        verdict=verdict(facts), charts=charts(facts), figures=figure_rows(facts),
        attempts=[_attempt(each) for each in facts.attempts], samples=_samples(facts),
        settings=_settings(facts), digests=digests(facts), sigmas=SIGMAS,
    )  # fmt: skip
    return text.encode()


def _shown(value: Any) -> Any:
    """Text with what would hide or change other text made visible; the environment escapes it."""
    if value is None:
        return "–"
    return value if isinstance(value, Markup) else visible(str(value))


def summary(facts: Facts) -> list[tuple[str, str]]:
    """What the run is and took, at a glance."""
    status, bill, peptides = facts.status, facts.bill, facts.peptides
    of = f" of {status.total_steps:,}" if status.total_steps else ""
    devices = dict.fromkeys(each.beat.device for each in facts.attempts if each.beat)
    took = duration(3600 * bill.hours) if bill.hours else ""
    estimated = ""
    if bill.estimated_hours is not None:
        estimated = duration(3600 * bill.estimated_hours)
        if bill.estimated_dollars is not None:
            estimated += f", ${bill.estimated_dollars:.2f}"
    expected = ""
    if bill.expected_hours is not None:
        expected = duration(3600 * bill.expected_hours)
        if bill.expected_dollars is not None:
            expected += f", ${bill.expected_dollars:.2f}"
    cost = f"${bill.dollars:.2f}" if bill.dollars is not None else "nothing: no machine had a price"
    data = ""
    if peptides is not None:
        data = f"{len(peptides):,} peptides, {len(peptides.vocabulary):,} targets"
    elif facts.lost:
        data = f"the data set cannot be used, so baselines are missing: {facts.lost}"
    rows = [
        ("state", status.state), ("preset", facts.record.preset), ("sweep", status.sweep),
        ("begun", moment(facts.record.created)),
        ("as of", "" if status.state == "done" else moment(status.at)),
        ("steps", f"{status.step:,}{of}"), ("data", data),
        ("trained on", ", ".join(filter(None, devices))),
        ("attempts", str(len(facts.attempts))), ("hours of machines", took),
        ("estimated at first", estimated), ("expected at its end", expected), ("cost", cost),
        ("exactness", facts.replay),
    ]  # fmt: skip
    return [(what, value) for what, value in rows if value]


def charts(facts: Facts) -> list[Chart]:
    """Training loss, and each kind of held-out figures beside its baselines."""
    restarts = [step for _, step in facts.head.lineage[1:]]
    loss = _points(facts, "loss")
    last = max((row["step"] for row in facts.rows), default=0)
    trained = [Line("training", loss, "a")]
    found = [chart("Training loss (noisy masks)", trained, (), restarts, last)]
    for kind, title in _GROUPS:
        shown = [each for each in figures.FIGURES if each.baseline == kind]
        lines = [
            Line(each.label, _points(facts, each.key), "bcd"[n % 3], dots=True)
            for n, each in enumerate(shown)
        ]
        found.append(chart(title, lines, _marks(facts, shown), restarts, last))
    return [each for each in found if each is not None]


def _points(facts: Facts, key: str) -> list[tuple[float, float]]:
    return [(row["step"], row[key]) for row in facts.rows if row.get(key) is not None]


def _baseline(facts: Facts, figure: figures.Figure) -> Baseline | None:
    return facts.peptides.baselines.of(figure) if facts.peptides is not None else None


def _marks(facts: Facts, shown: Sequence[figures.Figure]) -> list[Mark]:
    mark = _baseline(facts, shown[0]) if shown else None
    if mark is None:
        return []
    found = [
        Mark("composition entropy", mark.unigram, "m"), Mark("order-2 Markov", mark.markov2, "n"),
    ]  # fmt: skip
    if mark.closed_form is not None:
        found.append(Mark("closed form of the targets", mark.closed_form, "o"))
    return found


def figure_rows(facts: Facts) -> list[tuple[str, ...]]:
    """Each held-out figure with its interval beside its baselines."""
    row = facts.validation
    found: list[tuple[str, ...]] = []
    for figure in figures.FIGURES:
        value, mark, between = row.get(figure.key), _baseline(facts, figure), None
        if value is not None:
            between = interval(row, figure.key)
        form = facts.peptides.baselines.closed_form(figure) if facts.peptides else None
        found.append((
            figure.label, figure.meaning, _number(value),
            f"{between[0]:.4f} to {between[1]:.4f}" if between else "–",
            _number(mark.unigram if mark else None), _number(mark.markov2 if mark else None),
            _number(form),
        ))  # fmt: skip
    return found


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"


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
    took = duration(3600 * attempt.hours) if attempt.hours else "–"
    took += f", ${attempt.dollars:.2f}" if attempt.dollars is not None else ""
    how = beat.execution.words if beat and beat.execution else ""
    device = "; ".join(filter(None, (beat.device if beat else "", how)))
    began = "not begun" if status.from_step is None else f"step {status.from_step:,}"
    return (
        str(status.attempt), machine_text(status.machine), device or "–", began, why, lost, took,
    )  # fmt: skip


def _settings(facts: Facts) -> list[tuple[str, list[tuple[str, str]]]]:
    """By section of the configuration."""
    return [
        (section, [(key, str(value)) for key, value in body.items()])
        for section, body in facts.record.config.items()
        if isinstance(body, dict)
    ]


def digests(facts: Facts) -> list[tuple[str, str]]:
    """What the run is made of, by SHA-256, and under which terms the data is."""
    record, head, peptides = facts.record, facts.head, facts.peptides
    found = [("configuration", record.config_sha256), ("seed", str(record.seed))]
    if record.code is not None:
        found.append(("code", record.code.sha256))
    if peptides is not None:
        found += [("data (packed)", peptides.digest), ("data (CSV)", peptides.source)]
        found.append(("licence of the data", terms.of_csv(peptides.source).licence))
    if head.model is not None:
        found.append(("model", head.model.sha256))
    found += [(f"checkpoint of step {kept.step:,}", kept.sha256) for kept in head.kept]
    return found


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
