"""Removes a run and all that it left. Each step may be repeated, so who was cut off begins again.

    mark     HEAD says "removed"            who resumes, submits, watches or trains finds it and
                                            stops; nobody orders a machine any more
             (all machines are seen to be gone, by the caller: mimir knows no provider)
    bury     the tombstone says "deleting"  nobody may submit under the name
    clear    all objects go, run.json first, then HEAD
             the tombstone says "over"      the name is free, and counts on

Two may remove a run at once. What bears an attempt's number is never written again for another
run, so anyone may delete it at any time. Of what the next run of this name has under the same key
(run.json, HEAD, code, data) each deletion is preceded by a look at the tombstone, and so is each
end of a machine: whoever finds that another one has finished stops. Stores have no conditional
deletion, so one window is left: who sleeps between that look and this one request, while another
one finishes the removal and a new run is submitted, deletes that one object of the new run.
"""

import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from mimir.errors import BadInput, Fenced, StoreError
from mimir.runs import layout, orders, tombstone
from mimir.runs.begin import change
from mimir.runs.head import REMOVED, Head, Register, find_head
from mimir.runs.store import Store
from mimir.runs.tombstone import DELETING, OVER, Tombstone

AT_ONCE = 32
"""Objects that are deleted at once: a bucket is far away."""
_ANOTHER = "run {run} is another one by now: look at it again"
PASSES = 5
"""Listings after which whoever still writes into the run is not waited for."""


@dataclass(frozen=True)
class Target:
    """A run as it was when somebody decided to remove it.

    attempt: the newest that was ordered. record: SHA-256 of run.json, "" if there is none.
    exists: False if nothing but what an old machine wrote may lie there. deleting: somebody has
    buried it already. version: of the tombstone.
    """

    run: str
    attempt: int
    record: str
    exists: bool
    deleting: bool
    version: str


def target(store: Store, run: str) -> Target:
    """The run of this name, to be removed as it is now.

    Nothing is asked of a HEAD that is none, or of a run.json that cannot be read: they go, too.
    """
    made, version = tombstone.read(store, run)
    record = _record(store, run)
    exists = bool(record) or any(key == layout.head_key(run) for key in store.list(f"{run}/HEAD"))
    deleting = made is not None and made.word == DELETING
    return Target(run, orders.newest_order(store, run), record, exists, deleting, version)


def mark(
    store: Store,
    it: Target,
    why: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    rng: random.Random | None = None,
) -> None:
    """Swap HEAD to "removed".

    Raises:
        Fenced: it is not the run any more that was looked at, or somebody begins an attempt.
        OtherFormat: HEAD is another Mimir's.
    """
    run = it.run

    def stand_in() -> Head:
        return orders.remembered(store, run) or Head(run)

    def removed(head: Head) -> Head:
        newest = orders.newest_order(store, run)
        if _record(store, run) != it.record:
            raise Fenced(_ANOTHER.format(run=run))
        if head.state != REMOVED and newest != it.attempt:
            raise Fenced(f"somebody has begun attempt {newest} of run {run}: look at it again")
        return replace(head.queued_at(newest), state=REMOVED, reason=why)

    key = layout.head_key(run)
    change(Register(store, key, sleep=sleep, rng=rng, stand_in=stand_in), removed)


def must_be_same(store: Store, it: Target) -> None:
    """Fenced unless the name is still that of the run that was looked at, which is being removed.

    For who is about to end a machine, after `mark`: somebody may have waited for an answer while
    another one finished the removal and a new run was submitted.
    """
    made, version = tombstone.read(store, it.run)
    if version == it.version and (it.deleting or _record(store, it.run) == it.record):
        return
    if it.deleting or made is None or made.word != DELETING:
        raise Fenced(_ANOTHER.format(run=it.run))


def bury(store: Store, it: Target, spent: Mapping[str, float]) -> None:
    """Write that the run is deleted now, once HEAD is marked and its machines are gone.

    spent: dollars of its machines by month, which budgets go on counting.

    Raises:
        Fenced: HEAD was changed, or somebody else has finished the removal meanwhile.
    """
    before, version = tombstone.read(store, it.run)
    if before is not None and before.word == DELETING:
        return
    head = find_head(store, it.run)
    same = version == it.version and _record(store, it.run) == it.record
    if not same or head is None or head.state != REMOVED:
        raise Fenced(f"run {it.run} was changed while it was being removed: look at it again")
    total = dict(before.spent) if before else {}
    for month, dollars in spent.items():
        total[month] = total.get(month, 0.0) + dollars
    last = max(orders.newest_order(store, it.run), before.attempt if before else 0)
    try:
        tombstone.write(store, it.run, DELETING, last, total, version)
    except Fenced:
        found = tombstone.find(store, it.run)
        if found is None or found.word != DELETING:
            raise


def clear(store: Store, run: str) -> int:
    """Delete all of a buried run, HEAD last, and write that it is over; how many objects went.

    Raises:
        BadInput: nobody has buried the run.
        Fenced: somebody else has finished meanwhile.
        StoreError: the store did not do it, or somebody goes on writing into the run; what is left
            goes when this is repeated.
    """
    made, version = tombstone.read(store, run)
    if made is None or made.word != DELETING:
        raise BadInput(f"run {run} is not being removed")
    deleted, head = 0, layout.head_key(run)
    for _ in range(PASSES):
        keys = [key for key in store.list(f"{run}/") if key != head]
        if not keys:
            break
        deleted += _delete(store, made, version, keys)
    else:
        raise StoreError(f"somebody goes on writing into run {run}: repeat the removal later")
    # Others may have finished and submitted the name again: the new run's machines need their keys.
    handed = [key for key in store.list(layout.handover_folder(run)) if _is_old_key(made, key)]
    _all(store, handed)
    _must_be_ours(store, run, version)
    store.delete(head)
    tombstone.write(store, run, OVER, made.attempt, made.spent, version)
    return deleted + len(handed) + 1


def collect(store: Store, run: str) -> int:
    """Delete what machines of removed runs of this name wrote afterwards; how many objects.

    A run that has the name now loses nothing: its attempts have higher numbers.
    """
    made = tombstone.find(store, run)
    if made is None or made.word == DELETING:
        return 0
    return _all(store, left(store, made))


def left(store: Store, made: Tombstone) -> list[str]:
    """The keys of what attempts of removed runs of a name wrote, and was not deleted."""
    return [key for key in store.list(f"{made.run}/") if _is_old(made, key)]


def _is_old(made: Tombstone, key: str) -> bool:
    number = layout.parse_attempt(made.run, key)
    return number is not None and number <= made.attempt


def _is_old_key(made: Tombstone, key: str) -> bool:
    number = layout.parse_handover(made.run, key)
    return number is not None and number <= made.attempt


def _delete(store: Store, made: Tombstone, version: str, keys: Sequence[str]) -> int:
    record = layout.record_key(made.run)
    old = [key for key in keys if _is_old(made, key)]
    shared = [key for key in keys if not _is_old(made, key)]
    # Without run.json there is no run for any command, and no half of one.
    for key in sorted(shared, key=lambda key: key != record):
        _must_be_ours(store, made.run, version)
        store.delete(key)
    # That a machine is gone stands there until nothing tells of the machine.
    ends = [key for key in old if key.endswith("/gone.json")]
    return _all(store, sorted(set(old) - set(ends))) + _all(store, ends) + len(shared)


def _all(store: Store, keys: list[str]) -> int:
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        for _ in pool.map(store.delete, keys):
            pass
    return len(keys)


def _must_be_ours(store: Store, run: str, version: str) -> None:
    if tombstone.read(store, run)[1] != version:
        raise Fenced(f"somebody else has finished the removal of run {run}")


def _record(store: Store, run: str) -> str:
    found = store.read(layout.record_key(run))
    return hashlib.sha256(found.data).hexdigest() if found else ""
