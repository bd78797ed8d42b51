"""Gathers what the report shows of a run, finished or not, from its store."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launch.pricing import budget
from launch.pricing.bill import Bill, bill
from mimir.config import Config
from mimir.data.mix import steps_of
from mimir.data.pack import TRAIN, Peptides
from mimir.data.peptides import of_run
from mimir.runs import figures, notes, stopping
from mimir.runs.attempts import AttemptStatus
from mimir.runs.head import Head
from mimir.runs.notes import Heartbeat
from mimir.runs.record import RunRecord
from mimir.runs.status import Status, derive
from mimir.runs.stopping import End
from mimir.runs.store import Store

if TYPE_CHECKING:
    from mimir.output.model_object import Record as Left

NEWEST_ATTEMPTS = 50
"""Attempts whose heartbeats are read."""


@dataclass(frozen=True)
class Attempt:
    """One attempt. beat: its last heartbeat, None if it gave none. lost: steps that the next
    attempt took again, None while nothing followed. hours: of its machine, dollars: None if it
    has no price."""

    status: AttemptStatus
    beat: Heartbeat | None
    lost: int | None
    hours: float
    dollars: float | None


@dataclass(frozen=True)
class Facts:
    """A run. rows: its metrics. peptides: its data, None for a run without. left: the samples of a
    finished run, None for any other. end: how training ended, None while it goes on."""

    record: RunRecord
    status: Status
    head: Head
    rows: list[dict[str, Any]]
    peptides: Peptides | None
    left: "Left | None"
    attempts: tuple[Attempt, ...]
    bill: Bill
    end: End | None

    @property
    def validations(self) -> list[dict[str, Any]]:
        """The rows with held-out figures."""
        keys = [figures.SELECTION, *(figure.key for figure in figures.FIGURES)]
        return [row for row in self.rows if any(row.get(key) is not None for key in keys)]

    @property
    def validation(self) -> dict[str, Any]:
        """The row of the weights that the page judges: the best, else the last; {} for none."""
        found = self.validations
        best = min(
            (row for row in found if row.get(figures.SELECTION) is not None),
            key=lambda row: (row[figures.SELECTION], row["step"]), default=None,
        )  # fmt: skip
        return best or (found or [{}])[-1]


def gather(
    store: Store, record: RunRecord, head: Head, rows: list[dict[str, Any]],
    left: "Left | None" = None, now: Callable[[], float] | None = None,
) -> Facts:  # fmt: skip
    """The facts of a run. now: unix s by the store's clock.

    Args:
        head: HEAD as it is to be believed.
        rows: as `parts.read_metrics` gives them.
        left: what `model_object.record_in` found in the model of a finished run.
    """
    status = derive(store, record.name, (now or store.now)())
    config = Config.from_dict(record.config)
    peptides = of_run(store, record) if record.data is not None else None
    beats = _beats(store, head)
    end = None
    if status.state == "done" and peptides is not None:
        steps = steps_of(config.training, len(peptides.subset(TRAIN)))
        price = budget.price_of(status.attempts[-1]) if status.attempts else None
        patience, cooldown = config.training.patience, config.optimizer.cooldown_steps
        end = stopping.of_rows(rows, head.step, steps, patience, cooldown, price)
    began = dict(head.lineage)
    attempts = tuple(
        _attempt(each, beats.get(each.attempt), began, status) for each in status.attempts
    )
    return Facts(record, status, head, rows, peptides, left, attempts, bill(status, status.at), end)


def _attempt(
    attempt: AttemptStatus, beat: Heartbeat | None, began: Mapping[int, int], status: Status
) -> Attempt:
    later = [step for number, step in began.items() if number > attempt.attempt]
    lost = max(0, beat.step - later[0]) if later and beat is not None else None
    hours = budget.seconds_of(attempt, status.at) / budget.HOUR
    price = budget.price_of(attempt)
    return Attempt(attempt, beat, lost, hours, None if price is None else price * hours)


def _beats(store: Store, head: Head) -> dict[int, Heartbeat]:
    """The last heartbeat of its attempts, of those that gave one."""
    found = {}
    for attempt in dict(head.lineage[-NEWEST_ATTEMPTS:]):
        beat = notes.unless_damaged(notes.read_heartbeat, store, head.run, attempt)
        if beat is not None:
            found[attempt] = beat
    return found
