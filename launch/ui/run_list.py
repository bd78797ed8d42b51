"""The table of a store's runs: which of them, in which order, with what they cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from launch.pricing import bill
from launch.ui import narrow
from launch.ui.runs import FINISHING, in_style, is_finishing, state_text
from mimir.console import Styled, joined
from mimir.errors import BadInput
from mimir.runs import about
from mimir.runs.head import ENDED, REMOVED
from mimir.runs.listing import Listed
from mimir.runs.status import DISPUTED, Status
from mimir.text import clipped, duration, nearest, one_line

LIVE_WORDS = ("queued", "running", "interrupted", DISPUTED)
STATES = (*LIVE_WORDS, *ENDED, "damaged")
NOTE_SHOWN = 40
"""Characters of a run's newest note."""
GROUPS = {"alive": LIVE_WORDS, "finished": ("done", "failed", "stopped")}


@dataclass(frozen=True)
class Row:
    """A run of the table. provider: where its newest attempt was ordered, dollars: what its
    machines cost so far; "" and None where that was not read, or there is none."""

    listed: Listed
    provider: str = ""
    dollars: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {"provider": self.provider, "dollars": self.dollars}


SORTS: dict[str, Callable[[Row], Any]] = {
    "created": lambda row: -row.listed.status.created,  # type: ignore[union-attr]
    "name": lambda row: row.listed.run,
    "state": lambda row: STATES.index(row.listed.status.state),  # type: ignore[union-attr]
    "step": lambda row: -row.listed.status.step,  # type: ignore[union-attr]
    "held-out": lambda row: _last(row.listed.status.val),  # type: ignore[union-attr]
    "cost": lambda row: -(row.dollars or 0.0),
}
"""created, step and cost: the largest first; held-out: the best first."""


def _last(value: float | None) -> float:
    return float("inf") if value is None else value


def states(words: str) -> tuple[str, ...]:
    """The states of these words, such as "running,failed" or "alive"; BadInput for others."""
    found: list[str] = []
    for word in (each.strip() for each in words.split(",") if each.strip()):
        if word not in (*GROUPS, *STATES):
            known = (*GROUPS, *STATES)
            raise BadInput(f"--state {word!r} is no state of a run{nearest(word, known)}")
        found += GROUPS.get(word, (word,))
    return tuple(found)


def check_sort(word: str) -> str:
    """The word itself; BadInput if runs cannot be sorted by it."""
    if word not in SORTS:
        raise BadInput(f"--sort {word!r} is no column to sort by{nearest(word, SORTS)}")
    return word


def labels_of(words: str) -> dict[str, str | None]:
    """The labels of "stage=final,project": None for any value. BadInput for other words."""
    parts = [each.strip() for each in words.split(",") if each.strip()]
    given = about.pairs((each if "=" in each else f"{each}=" for each in parts), "--label")
    return {key: value if f"{key}={value}" in parts else None for key, value in given.items()}


def chosen(
    found: Sequence[Listed], wanted: Sequence[str], since: float,
    labels: Mapping[str, str | None] = MappingProxyType({}),
) -> list[Listed]:  # fmt: skip
    """The runs in one of these states (() for any) that were created since then (unix s), and have
    these labels (None: with any value).

    A run that cannot be read stays unless labels are named, or states: then it is damaged, or
    removed if its removal was cut off.
    """

    def fits(listed: Listed) -> bool:
        if listed.status is None:
            return _unread_state(listed) in wanted if wanted else not labels
        if labels and not about.fits(listed.status.about or about.NOTHING, labels):
            return False
        state = "damaged" if listed.status.damage and "damaged" in wanted else listed.status.state
        return (not wanted or state in wanted) and listed.status.created >= since

    return [each for each in found if fits(each)]


def _unread_state(listed: Listed) -> str:
    """The state of a run without a status."""
    return REMOVED if listed.removing else "damaged"


def ordered(rows: Sequence[Row], sort: str) -> list[Row]:
    """The rows as asked for; runs that cannot be read come last, by name."""
    known = [row for row in rows if row.listed.status is not None]
    damaged = [row for row in rows if row.listed.status is None]
    by_age = sorted(known, key=SORTS["created"])
    return [*sorted(by_age, key=SORTS[sort]), *sorted(damaged, key=SORTS["name"])]


def dollars(status: Status) -> float | None:
    """What the run's machines have cost, with its attempts read."""
    return bill.bill(status, status.at).dollars


_WORTH = ("NOTE", "LABELS", "SWEEP", "PRESET", "ATTEMPTS", "LEFT", "LOSS", "PROVIDER", "AGE",
          "COST", "HELD-OUT")  # fmt: skip
"""Columns in the order in which a narrow terminal does without them."""


def text(rows: Sequence[Row], width: int | None = None) -> Styled:
    """The table, and a line for each run with which something is wrong. A column that no run has
    anything for is left out.

    width: of the terminal, in characters; None for no limit. What does not fit is left out, and
    named below the table.
    """
    head = ("NAME", "PRESET", "STATE", "STEP", "LEFT", "LOSS", "HELD-OUT", "ATTEMPTS", "AGE",
            "PROVIDER", "COST", "SWEEP", "LABELS", "NOTE")  # fmt: skip
    made = [_cells(row) for row in rows]
    always = head.index("PROVIDER")
    kept = [n for n in range(len(head)) if n < always or any(cells[n] for cells in made)]
    lines = [[head[n] for n in kept], *([cells[n] for n in kept] for cells in made)]
    wrong = [line for row in rows for line in _problems(row.listed)]
    return joined([narrow.fitted(lines, width, _WORTH), *wrong], "\n")


def _cells(row: Row) -> tuple[str, ...]:
    status = row.listed.status
    if status is None:
        return (row.listed.run, "?", in_style(_unread_state(row.listed)), *("" for _ in range(11)))
    step = f"{status.step}"
    if status.total_steps:
        step += f" of {status.total_steps} ({status.step / status.total_steps:.0%})"
    left = duration(status.eta_s) if status.eta_s is not None and status.state == "running" else ""
    left = FINISHING.partition(",")[0] if is_finishing(status) else left  # a column is narrow
    return (
        status.run, status.preset, state_text(status), step, left, _figure(status.loss),
        _figure(status.val), str(status.attempt), duration(max(0.0, status.at - status.created)),
        row.provider, "" if row.dollars is None else f"${row.dollars:.2f}", status.sweep,
        status.about.words if status.about else "", _newest_note(status),
    )  # fmt: skip


def _newest_note(status: Status) -> str:
    text = status.about.notes[-1].text if status.about and status.about.notes else ""
    return clipped(text, NOTE_SHOWN)


def _figure(value: float | None) -> str:
    return f"{value:.4f}" if value is not None else ""


def _problems(listed: Listed) -> list[str]:
    status = listed.status
    if status is None:
        return [one_line(f"{listed.run}: {listed.problem}")]
    wrong = (status.reason if status.state == DISPUTED else "", status.damage)
    return [one_line(f"{listed.run}: {each}") for each in wrong if each]
