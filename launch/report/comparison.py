"""The report of several runs beside each other (comparison.html), and what a sweep's shares."""

from collections.abc import Sequence
from typing import Any

from launch.report import curves
from launch.report.cells import NONE, hours, number, price, share
from launch.report.facts import Facts
from launch.report.render import render
from launch.report.verdict import NATS, SIGMAS, interval
from launch.ui import comparison
from launch.ui.runs import cost_text, state_text
from mimir.data import terms
from mimir.output.quality import SAMPLES, Reference
from mimir.runs import figures
from mimir.runs.figures import ERROR, Figure
from mimir.text import moment

_DIGITS = 16
"""Of a digest that is shown in a table of several runs."""


def page(runs: Sequence[Facts]) -> bytes:
    """The report of several runs, at most `curves.MOST_DRAWN`, self-contained, as UTF-8."""
    names = numbered(runs)
    differing = comparison.differing([each.record for each in runs])
    return render(
        "comparison.html", f"{len(runs)} runs beside each other", "a comparison of Mimir runs",
        "runs' store", verdict(runs), summary(runs), charts=curves.overlaid(runs),
        head=("setting", *names), same=curves.same_data(runs), batches="batch" in differing,
        settings=[(name, *map(_plain, values)) for name, values in differing.items()],
        labels=[
            (name, *(value or NONE for value in values))
            for name, values in comparison.labels([each.status for each in runs]).items()
        ],
        figures=figures_table(runs, names), samples=sample_rows(runs, names),
        took=[took(each, name) for each, name in zip(runs, names, strict=True)],
        digests=[_digests(each, name) for each, name in zip(runs, names, strict=True)],
    )  # fmt: skip


def numbered(runs: Sequence[Facts]) -> list[str]:
    """The runs' names behind the numbers that stand at their lines."""
    return [f"{number} {each.record.name}" for number, each in enumerate(runs, start=1)]


def verdict(runs: Sequence[Facts]) -> list[str]:
    """Which run is best by each figure and how sure that is, the most important first."""
    found = []
    if not curves.same_data(runs):
        found.append(
            "The runs were trained on different data: their held-out figures are of different "
            "peptides, and must not be compared."
        )
    else:
        found += filter(None, [best_by(runs, figure) for figure in curves.own_figures()])
        if not found:
            found.append("Fewer than two runs have a held-out figure: nothing can be compared yet.")
    found += [f"{each.record.name}: {each.unmeasured}" for each in runs if each.unmeasured]
    going = [each.record.name for each in runs if each.status.state != "done"]
    if going:
        found.append(f"Not finished, so their figures may change: {', '.join(going)}.")
    return found


def best_by(runs: Sequence[Facts], figure: Figure) -> str:
    """Which run has the lowest figure, and whether others may be as good; "" for fewer than two."""
    measured = [each for each in runs if each.validation.get(figure.key) is not None]
    if len(measured) < 2:
        return ""
    best = min(measured, key=lambda each: each.validation[figure.key])
    between = interval(best.validation, figure.key)
    said = f"{best.validation[figure.key]:.4f} {NATS}"
    said += f", 95 % interval {between[0]:.4f} to {between[1]:.4f}" if between else ""
    title = figure.label[0].upper() + figure.label[1:]
    found = f"{title}: {best.record.name} has the lowest figure ({said})"
    others = [each for each in measured if each is not best]
    reach = [(each, interval(each.validation, figure.key)) for each in others]
    if between is None or any(each is None for _, each in reach):
        return f"{found}; how sure that is, is not known: not all standard errors were told."
    level = [each.record.name for each, its in reach if its is not None and its[0] <= between[1]]
    if level:
        return f"{found}, but the intervals of {', '.join(level)} overlap with its own."
    return f"{found}; no other interval reaches it."


def summary(runs: Sequence[Facts]) -> list[tuple[str, str]]:
    """What the runs are and took together, at a glance."""
    costs = [each.bill.dollars for each in runs if each.bill.dollars is not None]
    total = sum(each.bill.hours for each in runs)
    took = hours(total, at_least=any(each.bill.at_least for each in runs))
    return [
        ("runs", str(len(runs))), *data_rows(runs), ("time of machines", took),
        ("cost", cost_text(sum(costs) if costs else None, [each.status for each in runs])),
        ("as of", moment(max(each.status.at for each in runs))),
    ]  # fmt: skip


def data_rows(runs: Sequence[Facts]) -> list[tuple[str, str]]:
    """The data and its licence, if all runs have the same."""
    peptides = next((each.peptides for each in runs if each.peptides is not None), None)
    if not curves.same_data(runs):
        return [("data", "not the same for all runs")]
    if peptides is None:
        return []
    told = f"{len(peptides):,} peptides, {len(peptides.vocabulary):,} targets"
    return [("data", told), ("licence of the data", terms.of_csv(peptides.source).licence)]


def figures_table(runs: Sequence[Facts], names: Sequence[str]) -> dict[str, Any]:
    """A row for each run that was measured; baselines below, where all runs have the same."""
    shown = [
        each for each in figures.FIGURES
        if any(run.validation.get(each.key) is not None for run in runs)
    ]  # fmt: skip
    rows = [
        (name, f"{run.validation['step']:,}", *(figure_cell(run, each) for each in shown))
        for run, name in zip(runs, names, strict=True)
        if run.validation
    ]
    known = next((each for each in runs if each.peptides is not None), None)
    if rows and known is not None and curves.same_data(runs):
        marks = [curves.baseline(known, each) for each in shown]
        for title, key in (("composition entropy", "unigram"), ("order-2 Markov", "markov2")):
            values = (number(getattr(mark, key)) if mark else NONE for mark in marks)
            rows.append((f"{title} (baseline)", NONE, *values))
    return {"head": ("run", "step", *(each.label for each in shown)), "rows": rows}


def figure_cell(facts: Facts, figure: Figure) -> str:
    """ "2.9045 ± 0.0196": the figure with half of its 95 % interval."""
    value, error = (facts.validation.get(key) for key in (figure.key, figure.key + ERROR))
    spread = f" ± {SIGMAS * error:.4f}" if value is not None and error is not None else ""
    return f"{number(value)}{spread}"


def sample_rows(runs: Sequence[Facts], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Of a finished run the samples that it left, of another those of its last validation that
    drew some; before them held-out peptides, for runs on the same data."""
    found: list[tuple[str, ...]] = []
    held: tuple[str, ...] = ()
    for run, name in zip(runs, names, strict=True):
        if run.left is not None and run.left.samples and run.peptides is not None:
            reference = Reference(run.peptides)
            sets = reference.sets(run.left.samples)
            wanted = (SAMPLES, f"held-out {reference.what}")
            some = {key: value for key, value in sets.items() if key in wanted}
            rows = {key: _likeness(one) for key, one in reference.compared(some).items()}
            found.append((name, f"{len(some[SAMPLES])} at its end", *rows[SAMPLES]))
            if wanted[1] in rows:
                held = held or (wanted[1], f"{len(some[wanted[1]])}, none drawn", *rows[wanted[1]])
            continue
        row = next((row for row in reversed(run.rows) if row.get("samples_kl") is not None), None)
        if row is not None:
            found.append((
                name, f"at step {row['step']:,}", f"{row['samples_kl']:.3f}", NONE,
                share(row.get("samples_copies")), NONE, share(row.get("samples_unique")),
            ))  # fmt: skip
    return [held, *found] if held and curves.same_data(runs) else found


def _likeness(one: Any) -> tuple[str, ...]:
    return (
        f"{one.kl:.3f}", f"{one.jaccard:.3f}", f"{one.copies:.0%}", f"{one.diversity:.3f}",
        f"{one.unique:.0%}",
    )  # fmt: skip


def took(facts: Facts, name: str) -> tuple[str, ...]:
    """A row on hours and cost."""
    status, bill = facts.status, facts.bill
    of = f" of {status.total_steps:,}" if status.total_steps else ""
    devices = dict.fromkeys(each.beat.device for each in facts.attempts if each.beat)
    return (
        name, state_text(status), f"{status.step:,}{of}", str(len(facts.attempts)),
        ", ".join(filter(None, devices)) or NONE,
        hours(bill.hours, at_least=bill.at_least) or NONE,
        hours(bill.estimated_hours, bill.estimated_dollars) or NONE, price(bill.dollars),
    )  # fmt: skip


def _digests(facts: Facts, name: str) -> tuple[str, ...]:
    record, head = facts.record, facts.head
    stored = (record.code, record.data, head.model)
    code, data, model = (each.sha256[:_DIGITS] if each else NONE for each in stored)
    begun, config = moment(record.created), record.config_sha256[:_DIGITS]
    return (name, begun, config, str(record.seed), code, data, model)


def _plain(value: Any) -> str:
    return NONE if value is None else f"{value:.6g}" if isinstance(value, float) else f"{value}"
