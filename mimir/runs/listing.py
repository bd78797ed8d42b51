"""Lists the runs of a store, each in few requests and many at once.

A store grows for months, and a bucket answers each request in some 50 ms. A run that has ended
takes four: run.json, HEAD (or final.json), the names below `launcher/`, the heartbeat; one that
goes on a fifth, its attempt's outcome. The first look at a run that is done takes three more,
because it seals it. The names alone tell whether HEAD is at the newest order,
and whether a machine was not seen to be gone. A run of which they tell anything else, or whose
newest attempt gave no sign yet, is looked at as `status` looks at it.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from mimir.errors import Corrupt, sentence
from mimir.runs import about, final, layout, notes, tombstone
from mimir.runs.head import ENDED, Head, find_head
from mimir.runs.record import RunRecord, find_run
from mimir.runs.status import Status, derive, seal_if_done, state_of, told
from mimir.runs.store import Store

AT_ONCE = 32
"""Runs that are looked at at once."""


@dataclass(frozen=True)
class Listed:
    """A line of `list`: a run's status, or the sentence that says why it cannot be read.

    removing: a removal has deleted its record and was cut off before it deleted the rest.
    """

    run: str
    status: Status | None
    problem: str = ""
    removing: bool = False


@dataclass(frozen=True)
class _Names:
    """What lies below a run's `launcher/`: the attempts that have such an object."""

    run: str
    keys: frozenset[str]

    @property
    def orders(self) -> list[int]:
        """The attempts that were ordered, the oldest first."""
        return sorted(n for key in self.keys if (n := layout.parse_order(self.run, key)))

    @property
    def ordered(self) -> int:
        """The newest attempt that was ordered, 0 if there is none."""
        return max(self.orders, default=0)

    @property
    def sealed(self) -> bool:
        return layout.final_key(self.run) in self.keys

    def has(self, key: Callable[[str, int], str], attempt: int) -> bool:
        return key(self.run, attempt) in self.keys

    def unseen(self) -> list[int]:
        """Attempts with a machine that nobody has seen to be gone."""
        return [n for n in self._without_end() if self.has(layout.machine_key, n)]

    def all_gone(self) -> bool:
        """Whether of each attempt that was ordered it was written that its machine is gone."""
        return bool(self.orders) and not self._without_end()

    def removing(self) -> bool:
        """Whether the run is being removed, though it is sealed."""
        return self.has(layout.removing_key, self.ordered or 1)

    def _without_end(self) -> list[int]:
        return [n for n in self.orders if not self.has(layout.gone_key, n)]


def list_names(store: Store) -> list[str]:
    """The names of all runs of a store, damaged ones too.

    What else lies there is none: Mimir's own folders, foreign ones, files.
    """
    return [listed.run for listed in _listed(store, lambda record: None)]


def list_runs(store: Store, now: float) -> list[Listed]:
    """All runs of a store by name; those that are done are sealed. One run that cannot be read
    does not hide the others.

    A status of these has no `attempts`, unless more had to be looked at: `derive` tells all.
    """

    return _listed(store, lambda record: brief(store, record, now))


def brief(store: Store, record: RunRecord, now: float) -> Status:
    """The run's status as far as a table shows it; as `derive` if anything about it is unusual.
    A run that is done is sealed.

    now: unix s by the store's clock.
    """
    run = record.name
    names = _names(store, run)
    try:
        head = None if names.removing() else _head(store, names)
    except Corrupt:
        head = None
    made = _brief(store, record, head, names, now) if head and _usual(head, names) else None
    if made is None:
        made = derive(store, run, now)
        seal_if_done(store, made, now)
    elif head and made.state == "done" and not made.sealed:
        final.seal(store, head, now)
    return with_about(store, made) if layout.about_key(run) in names.keys else made


def with_about(store: Store, status: Status) -> Status:
    """The status with the run's labels and notes; what is wrong with them stands in its warning."""
    found, wrong = about.unless_damaged(store, status.run)
    warning = "; ".join(filter(None, [status.warning, wrong]))
    return replace(status, about=found, warning=warning)


def ended_for_good(store: Store, run: str, now: float) -> Status | None:
    """The run's status if nothing is left to do for it: it has ended, what it left is sealed if
    it is done, and each machine that was ordered for it was seen to be gone. Else None.

    Its figures are those of HEAD. Corrupt for a HEAD that is none. now: as `brief`'s.
    """
    names = _names(store, run)
    if not names.all_gone() or names.removing():
        return None
    head = _head(store, names)
    if head is None or head.state not in ENDED or head.attempt != names.ordered:
        return None
    if head.state == "done" and not names.sealed:
        return None
    record = find_run(store, run)
    return told(record, head, (head.state, head.reason), None, now) if record else None


def _names(store: Store, run: str) -> _Names:
    return _Names(run, frozenset(store.list(f"{layout.launcher_folder(run)}/")))


def _head(store: Store, names: _Names) -> Head | None:
    return final.read(store, names.run) if names.sealed else find_head(store, names.run)


def _usual(head: Head, names: _Names) -> bool:
    """Whether HEAD is at the newest order, and no earlier machine may still be there."""
    return head.attempt == names.ordered and not any(n < head.attempt for n in names.unseen())


def _brief(store: Store, record: RunRecord, head: Head, names: _Names, now: float) -> Status | None:
    """None if it gave no sign yet, or what it wrote is damaged, or its machine may still be paid
    though its work is over."""
    run, attempt = record.name, head.attempt
    if not attempt:
        return told(record, head, (head.state, head.reason), None, now)
    wrong: list[str] = []
    sign = notes.unless_damaged(notes.read_sign, store, run, attempt, wrong)
    if sign is None:
        return None
    over = None
    stopping = names.has(layout.stop_key, attempt)
    if head.state not in ENDED:
        ended = notes.unless_damaged(notes.read_outcome, store, run, attempt, wrong)
        if wrong or (ended and ended.exit_code == 0):  # then HEAD says it, or has just been read
            return None
        over = (ended.exit_code, ended.words) if ended else None
    if (over or head.state in ENDED) and attempt in names.unseen():
        machine = notes.read_machine(store, run, attempt)
        if machine is None or machine.price is not None:
            return None
    made = told(record, head, state_of(head, over, stopping=stopping), sign, now)
    return replace(made, stop_requested=stopping, sealed=names.sealed)


def _listed(store: Store, look_at: Callable[[RunRecord], Status | None]) -> list[Listed]:
    def line(name: str) -> Listed | None:
        try:
            if record := find_run(store, name):
                return Listed(name, look_at(record))
            if store.read(layout.head_key(name)) is not None:
                removed = tombstone.find(store, name)
                if removed is not None:  # what a machine wrote since then is no run
                    over = removed.word == tombstone.OVER
                    return None if over else Listed(name, None, removed.sentence, removing=True)
                missing = layout.record_key(name)
                return Listed(name, None, f"{missing} is missing: restore it")
        except Exception as error:  # noqa: BLE001 - told in the run's place; the others are shown
            return Listed(name, None, sentence(error))
        return None

    names = [name for name in store.folders() if layout.is_run(name)]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return [found for found in pool.map(line, names) if found is not None]
