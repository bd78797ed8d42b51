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
from mimir.errors import Corrupt, NotFound, OtherFormat
from mimir.runs import alerts, figures, notes, replays, stopping
from mimir.runs.alerts import Alert
from mimir.runs.attempts import AttemptStatus
from mimir.runs.head import Head
from mimir.runs.listing import with_about
from mimir.runs.notes import Heartbeat
from mimir.runs.origin import STATE
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
    attempt took again, None while nothing followed. hours: of its machine, a lower bound if
    at_least; dollars: None if it has no price."""

    status: AttemptStatus
    beat: Heartbeat | None
    lost: int | None
    hours: float
    dollars: float | None
    at_least: bool = False


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
    weights: int | None = None
    """Step of the weights in `left`, None without it."""
    replay: str = ""
    """What a replay of its last steps found, in a sentence; "" if nobody has replayed it."""

    @property
    def restarts(self) -> list[int]:
        """Steps from which a later attempt went on."""
        return [step for _, step in _began(self.record, self.head)[1:]]

    @property
    def validations(self) -> list[dict[str, Any]]:
        """The rows with held-out figures."""
        keys = [figures.SELECTION, *(figure.key for figure in figures.FIGURES)]
        return [row for row in self.rows if any(row.get(key) is not None for key in keys)]

    @property
    def validation(self) -> dict[str, Any]:
        """The row of the weights that the page judges; {} if this run has not measured them."""
        step = self._judged
        return next((row for row in reversed(self.validations) if row["step"] == step), {})

    @property
    def unmeasured(self) -> str:
        """Says that the weights were not measured in this run, although others were or although
        they are another run's; else ""."""
        step, origin = self._judged, self.record.origin
        others = origin is not None and origin.kind == STATE and (step or 0) <= origin.done
        if step is None or self.validation or not (self.validations or others):
            return ""
        of = f" of run {origin.run}" if origin is not None and others else ""
        return f"The weights are those of step {step:,}{of}, and were not measured in this run."

    @property
    def _judged(self) -> int | None:
        """Step of the weights: those in `left`, else the best so far, else the last measured."""
        found, origin = self.validations, self.record.origin
        if self.weights is not None or not (found or origin):
            return self.weights
        seen = [(row[figures.SELECTION], row["step"]) for row in found
                if row.get(figures.SELECTION) is not None]  # fmt: skip
        if origin is not None and origin.best is not None:
            seen.append((origin.best, origin.best_step))
        return min(seen)[1] if seen else found[-1]["step"] if found else None


def gather(
    store: Store, record: RunRecord, head: Head, rows: list[dict[str, Any]],
    left: "Left | None" = None, now: Callable[[], float] | None = None, data: Data = None,
    step: int | None = None,
) -> Facts:  # fmt: skip
    """The facts of a run. now: unix s by the store's clock.

    Args:
        head: HEAD as it is to be believed.
        rows: as `parts.read_metrics` gives them.
        left: what `model_object.record_in` found in the run's model, or in that of a checkpoint.
        data: as `data_of` gives it; by default it is fetched here.
        step: at which the last weights of `left` were (default: HEAD's).
    """
    status = with_about(store, derive(store, record.name, (now or store.now)()))
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
        end = stopping.of_rows(rows, head.step, steps, patience, cooldown, price, record.origin)
    began = dict(_began(record, head))
    attempts = tuple(
        _attempt(each, beats.get(each.attempt), began, status) for each in status.attempts
    )
    weights = None
    if left is not None:
        last = head.step if step is None else step
        weights = left.best_step if left.best_step >= 0 else last
    return Facts(
        record, status, head, rows, peptides, left, attempts, bill(status, status.at), end, lost,
        tuple(alerts.of_run(store, status, level="warning")), weights,
        _replay(store, record.name),
    )  # fmt: skip


def data_of(record: RunRecord, load: Callable[[], Peptides]) -> Data:
    """The data that the run names. A page is made without them too, so that damage is an answer."""
    try:
        return load() if record.data is not None else None
    except (Corrupt, NotFound) as error:
        return error


def _replay(store: Store, run: str) -> str:
    try:
        found = replays.read(store, run)
    except (Corrupt, OtherFormat) as error:
        return f"its result cannot be read: {error}"
    return found.sentence if found is not None else ""


def _began(record: RunRecord, head: Head) -> list[tuple[int, int]]:
    """Each attempt and the step that it went on from. HEAD says 0 of an attempt before the first
    commit, also where the run goes on with another's state."""
    done = record.origin.done if record.origin else 0
    return [(attempt, max(step, done)) for attempt, step in head.lineage]


def _attempt(
    attempt: AttemptStatus, beat: Heartbeat | None, began: Mapping[int, int], status: Status
) -> Attempt:
    later = [step for number, step in began.items() if number > attempt.attempt]
    lost = max(0, beat.step - later[0]) if later and beat is not None else None
    hours = budget.seconds_of(attempt, status.at) / budget.HOUR
    price = budget.price_of(attempt)
    dollars = None if price is None else price * hours
    return Attempt(attempt, beat, lost, hours, dollars, budget.end_unseen(attempt))


def _beats(store: Store, head: Head) -> dict[int, Heartbeat]:
    """The last heartbeat of its attempts, of those that gave one."""
    found = {}
    for attempt in dict(head.lineage[-NEWEST_ATTEMPTS:]):
        beat = notes.unless_damaged(notes.read_heartbeat, store, head.run, attempt)
        if beat is not None:
            found[attempt] = beat
    return found
