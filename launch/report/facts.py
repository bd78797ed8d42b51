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
from mimir.errors import Corrupt, NotFound
from mimir.runs import alerts, figures, notes, stopping
from mimir.runs.alerts import Alert
from mimir.runs.attempts import AttemptStatus
from mimir.runs.head import Head
from mimir.runs.notes import Heartbeat
from mimir.runs.record import RunRecord
from mimir.runs.status import Status, derive
from mimir.runs.stopping import End
from mimir.runs.store import Store

if TYPE_CHECKING:
    from mimir.output.model_object import Record as Left

Data = Peptides | Corrupt | NotFound | None
"""What a run is trained on, or why that cannot be used; None for a run that names none."""
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
    """A run. rows: its metrics. peptides: its data, None for a run without, or where it cannot be
    used: lost says why. left: the samples of a finished run, None for any other. end: how training
    ended, None while it goes on or where that cannot be known without the data. alerts: what
    happened to it and is worth a warning, the oldest first."""

    record: RunRecord
    status: Status
    head: Head
    rows: list[dict[str, Any]]
    peptides: Peptides | None
    left: "Left | None"
    attempts: tuple[Attempt, ...]
    bill: Bill
    end: End | None
    lost: str = ""
    alerts: tuple[Alert, ...] = ()

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
    left: "Left | None" = None, now: Callable[[], float] | None = None, data: Data = None,
) -> Facts:  # fmt: skip
    """The facts of a run. now: unix s by the store's clock.

    Args:
        head: HEAD as it is to be believed.
        rows: as `parts.read_metrics` gives them.
        left: what `model_object.record_in` found in the model of a finished run.
        data: as `data_of` gives it; by default it is fetched here.
    """
    status = derive(store, record.name, (now or store.now)())
    config = Config.from_dict(record.config)
    if data is None:
        data = data_of(record, lambda: of_run(store, record))
    peptides = data if isinstance(data, Peptides) else None
    lost = str(data) if isinstance(data, Corrupt | NotFound) else ""
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
    return Facts(
        record, status, head, rows, peptides, left, attempts, bill(status, status.at), end, lost,
        tuple(alerts.of_run(store, status, level="warning")),
    )  # fmt: skip


def data_of(record: RunRecord, load: Callable[[], Peptides]) -> Data:
    """The data that the run names. A page is made without them too, so that damage is an answer."""
    try:
        return load() if record.data is not None else None
    except (Corrupt, NotFound) as error:
        return error


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
