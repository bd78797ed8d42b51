"""The report of a sweep as one HTML page, in the frame that all reports have (sweep.html)."""

from collections.abc import Sequence
from typing import Any

from launch.report import comparison, curves
from launch.report.cells import hours, price
from launch.report.facts import Facts
from launch.report.provenance import digests, settings
from launch.report.render import render
from launch.report.verdict import NATS
from launch.sweep import table
from launch.sweep.table import SEED, Group, Row
from launch.ui.runs import cost_text
from mimir.runs.figures import FIGURES, RANKING, Figure
from mimir.runs.sweep import Sweep
from mimir.text import moment

DRAWN, THIN = 6, 40
"""Runs whose lines have a number, and further ones whose lines stand behind them."""
MOST_ROWS = 40
"""Runs that the table lists, so that the page prints on few sheets."""


def page(
    sweep: Sweep, word: str, made: Sequence[Row], drawn: Sequence[Facts], others: Sequence[Facts],
    problems: Sequence[str] = (),
) -> bytes:  # fmt: skip
    """The report of a sweep, self-contained, as UTF-8.

    Args:
        word: what was last said of the sweep, "" for nothing special.
        made: all of its runs. drawn: the best of those that have begun, at most DRAWN, the best
            first. others: further ones whose curves are drawn.
        problems: sentences on runs that cannot be read.
    """
    names = comparison.numbered(drawn)
    begun = sum(1 for row in made if row.status is not None and row.state != table.NOT_BEGUN)
    best = drawn[0] if drawn else None
    rows = table.ranked(made)
    return render(
        "sweep.html", sweep.name, "a sweep of Mimir", "sweep's store", verdict(made),
        _summary(sweep, word, made, drawn), charts=curves.overlaid(drawn, others),
        batches="batch" in sweep.differing(), undrawn=begun - len(drawn) - len(others),
        problems=problems, groups=_groups(table.groups(made)),
        runs={**_runs(rows[:MOST_ROWS], made), "more": max(0, len(rows) - MOST_ROWS)},
        figures=comparison.figures_table(drawn, names),
        samples=comparison.sample_rows(drawn, names), best=best.record.name if best else "",
        settings=settings(best) if best else [], digests=digests(best) if best else [],
    )  # fmt: skip


def verdict(made: Sequence[Row]) -> list[str]:
    """How far the sweep is, which run is best, and what seeds make of it."""
    over = sum(map(table.is_done, made))
    left = table.states(row for row in made if not table.is_done(row))
    found = [
        f"All {len(made)} runs are done." if over == len(made)
        else f"{over} of {len(made)} runs are done; {left}."
    ]  # fmt: skip
    first = next((row for row in table.ranked(made) if row.best), None)
    if first is None:
        return [*found, "Nothing is known yet of which run is best."]
    among = "finished runs" if over else "runs so far"
    chosen = ", ".join(f"{name} {table.shown(value)}" for name, value in first.settings.items())
    value = first.figures.get(RANKING)
    told = f"; its held-out figure is {value:.4f} {NATS}" if value is not None else ""
    found.append(f"The best of the {among} is {first.run} ({chosen}){told}.")
    return [*found, *filter(None, [_over_seeds(table.groups(made))])]


def _over_seeds(groups: Sequence[Group]) -> str:
    """Which settings are best on average, and whether by more than seeds differ."""
    known = [
        (group, *group.figures[RANKING]) for group in groups if RANKING in group.figures
    ]  # fmt: skip
    if len(known) < 2:
        return ""
    (best, mean, spread), (_, after, other), *_ = sorted(known, key=lambda each: each[1])
    chosen = ", ".join(f"{name} {table.shown(value)}" for name, value in best.settings.items())
    said = f"Over seeds, {chosen} has the lowest mean held-out figure ({mean:.4f} {NATS})"
    if spread is None or other is None:
        return f"{said}; with one finished seed of a setting it is not known how sure that is."
    lead = after - mean
    if lead <= max(spread, other):
        return (
            f"{said}, but it leads by {lead:.4f} only, no more than seeds differ (standard "
            f"deviation {max(spread, other):.4f})."
        )
    return (
        f"{said}: it leads by {lead:.4f}, more than seeds differ (standard deviation "
        f"{max(spread, other):.4f})."
    )


def _summary(
    sweep: Sweep, word: str, made: Sequence[Row], drawn: Sequence[Facts]
) -> list[tuple[str, str]]:
    total, limit = table.total_of(made), f" of {price(sweep.max_cost)}" if sweep.max_cost else ""
    cost = cost_text(total, [row.status for row in made if row.status])
    cost += limit if total is not None else ""
    over = ", ".join(sweep.differing())
    unseen = any(row.at_least for row in made)
    took = hours(sum(row.hours for row in made), at_least=unseen)
    return [
        ("runs", f"{len(made)} over {over}" if over else f"{len(made)}"),
        ("states", table.states(made)), ("last said of it", word),
        ("presets", ", ".join(sweep.bases)), ("begun", moment(sweep.created)),
        *comparison.data_rows(drawn), ("time of machines", took),
        ("cost", cost),
    ]  # fmt: skip


def _groups(found: Sequence[Group]) -> dict[str, Any]:
    """A row for each kind of runs that differ in their seed."""
    shown = _figures(key for group in found for key in group.figures)
    names = list(found[0].settings) if found else []
    rows = [
        (
            ", ".join(f"{name} {table.shown(group.settings[name])}" for name in names) or "all",
            str(group.runs),
            *(table.spread_of(group.figures.get(each.key)) or "–" for each in shown),
        )
        for group in found
    ]
    return {"head": ("settings", "runs", *(each.label for each in shown)), "rows": rows}


def _runs(shown: Sequence[Row], made: Sequence[Row]) -> dict[str, Any]:
    held = _figures(key for row in made for key in row.figures)
    names = [*(made[0].settings if made else ())]
    names = [*(name for name in names if name != SEED), *(name for name in names if name == SEED)]
    rows = [
        (
            row.run + (" (best)" if row.best else ""),
            *(table.shown(row.settings[name]) for name in names), row.state,
            table.step_of(row) or "–",
            *(f"{row.figures[each.key]:.4f}" if each.key in row.figures else "–" for each in held),
            hours(row.hours, at_least=row.at_least) or "–", price(row.dollars),
        )
        for row in shown
    ]  # fmt: skip
    figures = [each.label for each in held]
    return {"head": ("run", *names, "state", "steps", *figures, "hours", "cost"), "rows": rows}


def _figures(keys: Any) -> list[Figure]:
    had = set(keys)
    return [figure for figure in FIGURES if figure.key in had]
