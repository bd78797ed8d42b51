"""One table of all runs of a sweep, for people, as JSON and as CSV."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Any

from launch.pricing.bill import bill
from launch.ui import narrow
from launch.ui.runs import in_style, state_text
from mimir.console import Styled, joined
from mimir.runs.figures import FIGURES
from mimir.runs.listing import Listed
from mimir.runs.status import Status
from mimir.runs.sweep import Sweep
from mimir.text import one_line

SEED = "seed"
NOT_BEGUN = "not begun"


@dataclass(frozen=True)
class Row:
    """A run. figures: held-out ones by key, of its newest sign. settings: those that differ.

    status: None if it cannot be read, which `problem` says. dollars: None if it had no machine
    with a price. selected: of its best checkpoint, the figure that selects; None without one. It
    ranks the runs, as it is of held-out peptides that no reported figure is of. best: no run of
    its kind (done, or none is) has a lower one. at_least: the hours are a lower bound.
    """

    run: str
    settings: dict[str, Any]
    status: Status | None
    problem: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    hours: float = 0.0
    dollars: float | None = None
    selected: float | None = None
    best: bool = False
    at_least: bool = False

    @property
    def state(self) -> str:
        if self.status is None:
            return in_style("damaged")
        begun = self.status.attempt or self.status.state != "queued"
        return state_text(self.status) if begun else in_style(NOT_BEGUN)


@dataclass(frozen=True)
class Group:
    """Finished runs that differ in their seed only. figures: (mean, standard deviation) by key,
    the second None of fewer than two runs."""

    settings: dict[str, Any]
    runs: int
    figures: dict[str, tuple[float, float | None]]


def rows(sweep: Sweep, looked: Sequence[Listed]) -> list[Row]:
    """The runs in the order of the list."""
    made = []
    for member, listed in zip(sweep.members, looked, strict=True):
        status = listed.status
        used = bill(status, status.at) if status else None
        made.append(
            Row(
                member.run, sweep.values(member), status, listed.problem,
                status.held_out() if status else {},
                used.hours if used else 0.0, used.dollars if used else None,
                _selected(status) if status else None,
                at_least=used is not None and used.at_least,
            )
        )  # fmt: skip
    return _with_best(made)


def _selected(status: Status) -> float | None:
    return next((kept.loss for kept in status.kept if kept.key == status.best), None)


def _with_best(made: list[Row]) -> list[Row]:
    measured = [(row.selected, row) for row in made if row.selected is not None]
    ranked = [each for each in measured if is_done(each[1])] or measured
    least = min((selected for selected, _ in ranked), default=None)
    best = {row.run for selected, row in ranked if selected == least}
    return [replace(row, best=row.run in best) for row in made]


def ranked(made: Sequence[Row]) -> list[Row]:
    """The best first, by the figure that selects: finished runs, then others that have begun, then
    the rest; those without such a figure are last of their kind, in the order of the list."""

    def rank(row: Row) -> tuple[int, float]:
        kind = 0 if is_done(row) else 1 if row.state != NOT_BEGUN and row.status else 2
        return kind, math.inf if row.selected is None else row.selected

    return sorted(made, key=rank)


def groups(made: Sequence[Row]) -> list[Group]:
    """Mean and spread over seeds, [] where the seed does not differ."""
    if not made or SEED not in made[0].settings:
        return []
    kinds: dict[str, list[Row]] = {}
    for row in made:
        if is_done(row):
            kinds.setdefault(repr(_without_seed(row.settings)), []).append(row)
    return [_group(several) for several in kinds.values()]


def _group(several: list[Row]) -> Group:
    figures = {}
    for key in dict.fromkeys(key for row in several for key in row.figures):
        values = [row.figures[key] for row in several if key in row.figures]
        figures[key] = fmean(values), stdev(values) if len(values) > 1 else None
    return Group(_without_seed(several[0].settings), len(several), figures)


def _without_seed(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != SEED}


def is_done(row: Row) -> bool:
    """Whether the run has ended as it was to end."""
    return row.status is not None and row.status.state == "done"


def text(sweep: Sweep, word: str, made: Sequence[Row], width: int | None = None) -> Styled:
    """The table for people.

    Args:
        word: what was last said of the sweep, "" for nothing special.
        width: of the terminal, in characters; None for no limit.
    """
    keys = keys_of(made)
    names = list(made[0].settings) if made else []
    paid = any(row.dollars is not None for row in made)
    head = ["RUN", *(_title(name) for name in names), "STATE", "STEP"]
    head += [_figure_title(key) for key in keys] + (["COST"] if paid else [])
    lines = [head]
    for row in made:
        cells = [row.run + (" *" if row.best else "")]
        cells += [*(shown(row.settings[name]) for name in names), row.state, step_of(row)]
        cells += [f"{row.figures[key]:.4f}" if key in row.figures else "" for key in keys]
        cells += [f"${row.dollars:.2f}" if row.dollars is not None else ""] if paid else []
        lines.append(cells)
    worth = _worth(keys)
    summary = narrow.wrapped(_summary(sweep, word, made), width)
    parts: list[str] = [summary, "", narrow.fitted(lines, width, worth)]
    if any(row.best for row in made):
        among = "finished runs" if any(map(is_done, made)) else "runs so far"
        best = f"* the best of the {among}, by the held-out half that selects"
        parts.append(narrow.wrapped(best, width))
    if found := groups(made):
        title = narrow.wrapped("mean and standard deviation over seeds of finished runs", width)
        parts += ["", title, narrow.fitted(_group_lines(found, keys), width, worth)]
    problems = [one_line(f"{row.run}: {row.problem}") for row in made if row.problem]
    return joined([*parts, *(narrow.wrapped(each, width) for each in problems)], "\n")


def _worth(keys: Sequence[str]) -> list[str]:
    """Columns in the order in which a narrow terminal does without them: figures but for the first
    one, costs and states, of which a sentence tells, and steps."""
    return [*(_figure_title(key) for key in reversed(keys[1:])), "COST", "STEP", "STATE"]


def states(made: Iterable[Row]) -> str:
    """ "3 done, 1 running"."""
    counted: dict[str, int] = {}
    for row in made:
        state = row.status.state if row.status and row.state != NOT_BEGUN else row.state
        counted[state] = counted.get(state, 0) + 1
    return ", ".join(f"{count} {state}" for state, count in counted.items())


def _summary(sweep: Sweep, word: str, made: Sequence[Row]) -> str:
    total = total_of(made)
    money = f"; ${total:.2f} so far" if total is not None else ""
    money += f" of ${sweep.max_cost:.2f}" if total is not None and sweep.max_cost else ""
    return f"sweep {sweep.name}{f' ({word})' if word else ''}: {states(made)}{money}"


def _group_lines(found: Sequence[Group], keys: Sequence[str]) -> list[list[str]]:
    names = list(found[0].settings)
    head = [*(_title(name) for name in names), "RUNS", *(_figure_title(key) for key in keys)]
    lines = [head]
    for group in found:
        cells = [*(shown(group.settings[name]) for name in names), str(group.runs)]
        lines.append([*cells, *(spread_of(group.figures.get(key)) for key in keys)])
    return lines


def as_json(sweep: Sweep, word: str, made: Sequence[Row]) -> dict[str, Any]:
    """Plain values. spread is None of fewer than two runs."""
    return {
        "sweep": sweep.name, "state": word, "at_once": sweep.at_once, "max_cost": sweep.max_cost,
        "dollars": total_of(made),
        "runs": [
            {
                "run": row.run, "settings": row.settings, "state": row.state,
                "step": row.status.step if row.status else None,
                "total_steps": row.status.total_steps if row.status else None,
                "figures": row.figures, "hours": row.hours, "at_least": row.at_least,
                "dollars": row.dollars,
                "best": row.best, "problem": row.problem,
            }
            for row in made
        ],
        "groups": [
            {
                "settings": group.settings, "runs": group.runs,
                "figures": {
                    key: {"mean": mean, "spread": spread}
                    for key, (mean, spread) in group.figures.items()
                },
            }
            for group in groups(made)
        ],
    }  # fmt: skip


def as_csv(made: Sequence[Row]) -> str:
    """A line for each run, with full precision."""
    names = list(made[0].settings) if made else []
    keys = keys_of(made)
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\n")
    writer.writerow(["run", *names, "state", "step", *keys, "hours", "dollars", "best", "at_least"])
    for row in made:
        step = row.status.step if row.status else ""
        values = [row.settings[name] for name in names]
        figures = [row.figures.get(key, "") for key in keys]
        dollars = "" if row.dollars is None else row.dollars
        took = (row.hours, dollars, row.best, row.at_least)
        writer.writerow([row.run, *values, row.state, step, *figures, *took])
    return sheet.getvalue()


def keys_of(made: Iterable[Row]) -> list[str]:
    """Figures that some run has, in the order in which they are listed elsewhere."""
    had = {key for row in made for key in row.figures}
    return [figure.key for figure in FIGURES if figure.key in had]


def total_of(made: Iterable[Row]) -> float | None:
    """Dollars of all runs; None if none had a machine with a price."""
    dollars = [row.dollars for row in made if row.dollars is not None]
    return math.fsum(dollars) if dollars else None


def step_of(row: Row) -> str:
    """ "50 of 100"."""
    if row.status is None:
        return ""
    total = row.status.total_steps
    return f"{row.status.step}" + (f" of {total}" if total else "")


def spread_of(value: tuple[float, float | None] | None) -> str:
    """ "2.9200 ± 0.0283": mean and standard deviation."""
    if value is None:
        return ""
    return f"{value[0]:.4f}" + (f" ± {value[1]:.4f}" if value[1] is not None else "")


def _title(name: str) -> str:
    return name.replace("_", "-").upper()


def _figure_title(key: str) -> str:
    (figure,) = (each for each in FIGURES if each.key == key)
    return (figure.status or figure.name).upper()


def shown(value: Any) -> str:
    """A setting's value."""
    return f"{value:g}" if isinstance(value, float) else str(value)
