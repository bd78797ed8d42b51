"""Begins and ends attempts from outside: what the launcher does to HEAD.

A change that contends by design reads and swaps until it succeeds or is refused. A HEAD that is
not to be believed (`mimir.runs.orders`) is brought back to the newest attempt that was ordered; one
that is lost or none at all is replaced by what the newest order remembers of it.
"""

import random
import time
from collections.abc import Callable
from dataclasses import replace

from mimir.errors import BadInput, Fenced, MimirError, StoreError
from mimir.runs import layout, notes, orders, tombstone
from mimir.runs.head import REMOVED, Head, Register, pauses
from mimir.runs.notes import Gone
from mimir.runs.order import Order
from mimir.runs.origin import longer
from mimir.runs.store import Store

STALE_TRIES = 30
"""Looks at a HEAD that is older than the own attempt, about two minutes: twice as long as a network
file system remembers that a name is missing."""


def raise_attempt(
    store: Store,
    run: str,
    intent: Order | None = None,
    *,
    after: int | None = None,
    clock: Callable[[], float] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    rng: random.Random | None = None,
) -> int:
    """Begin the next attempt of a run, fencing every older one; its number.

    Its order is written first: who fails to create it begins nothing, and without it nobody
    believes HEAD (`mimir.runs.orders`). A HEAD that is not to be believed is put right first.
    Allowed after failed and stopped: whoever calls has decided so. The first attempt of a run
    counts on from those of removed runs of its name.

    Args:
        intent: the order, without what it remembers of HEAD (default: one by hand).
        after: the attempt that is to be replaced (default: the one at HEAD).
        clock: unix seconds (default: the store's).

    Raises:
        Fenced: the run is at another attempt than `after`, or somebody else begins one now.
        BadInput: there is no such run, or it is being removed, or it is done: its configuration
            is frozen, so nothing is left to train.
    """
    clock = clock or store.now
    register = _register(store, run, sleep, rng)
    intent = intent or orders.by_hand(orders.TERMINAL, clock())
    for _ in range(register.tries):
        head = _read(register)
        number = head.attempt
        _must_stay(head)
        if store.read(layout.final_key(run)) is not None:
            _must_go_on(replace(head, state="done"))
        removed = None if number else tombstone.free(store, run)
        earlier = orders.before_first(store, run, removed)
        following = max(number, earlier) + 1
        before = notes.read_order(store, run, number) if number else None
        known = number == 0 or before is not None
        # That an attempt is done is no longer its to say once the next one has a machine.
        done = head.state == "done"
        if done and known and notes.read_machine(store, run, following) is None:
            _must_go_on(head)
        if not (done or register.broken) and known and after in (None, number):
            first = replace(intent, earlier=earlier, since=_after(intent.since, earlier))
            wanted = orders.remembering(first, head, before)
            if notes.record_order(store, run, following, wanted):
                return _raise(register, number, following, _must_go_on).attempt
        after = _put_right(register, head, after, clock())
    raise Fenced(f"others begin attempts of run {run} at the same time: look at it again")


def _after(since: int, earlier: int) -> int:
    return max(since, earlier + 1) if since else 0


def _put_right(register: Register, head: Head, after: int | None, now: float) -> int:
    """Bring a HEAD that is not to be believed to the newest attempt that was ordered; its number.

    Whoever placed an order and did not raise HEAD cannot do so any more afterwards. Fenced if
    HEAD is right, or if somebody is about to raise it.
    """
    store, run = register.store, head.run
    number, broken = orders.newest_order(store, run), register.broken
    if (number == head.attempt and not broken) or after not in (None, head.attempt, number):
        raise Fenced(
            f"run {run} is at attempt {number} and no longer at {after}: somebody else has begun "
            "one meanwhile"
        )
    order = notes.read_order(store, run, number) if number else None
    ordered = bool(number) and notes.read_machine(store, run, number) is not None
    begun = ordered if broken else number <= head.attempt
    if not begun and order is not None and orders.is_fresh(order, now):
        raise Fenced(
            f"attempt {number} of run {run} is being ordered by somebody else just now: "
            "look at it by `python -m launch status`, or try again in two minutes"
        )
    if broken:  # by its version: what it was does not matter
        register.swap(lambda head: head)
        return number
    if number < head.attempt or ordered:
        _raise(register, head.attempt, number, lambda head: None)
        return number
    _raise(register, head.attempt, number, _must_go_on)
    why = "its launcher ended before a machine was ordered"
    notes.record_gone(store, run, number, Gone(now, "refused", why))
    return number


def _raise(register: Register, old: int, new: int, allowed: Callable[[Head], None]) -> Head:
    """Swap HEAD from attempt `old` to `new`; `allowed` raises if that is not to be."""

    def queued(head: Head) -> Head:
        if head.attempt != old:
            raise Fenced(
                f"run {head.run} is at attempt {head.attempt} and no longer at {old}: somebody "
                "else has begun one meanwhile"
            )
        _must_stay(head)
        allowed(head)
        return head.queued_at(new)

    return change(register, queued)


def _register(
    store: Store, run: str, sleep: Callable[[float], None], rng: random.Random | None
) -> Register:
    """The launcher's: a HEAD that is none may be replaced by it, unless the run was removed."""

    def stand_in() -> Head | None:
        # Else who slept while the run was removed would leave a HEAD without a run.
        there = store.read(layout.record_key(run)) is not None
        return orders.remembered(store, run) if there else None

    return Register(store, layout.head_key(run), sleep=sleep, rng=rng, stand_in=stand_in)


def _must_stay(head: Head) -> None:
    if head.state == REMOVED:
        raise BadInput(
            f"run {head.run} is being removed: finish that by `python -m launch rm {head.run}`"
        )


def _must_go_on(head: Head) -> None:
    if head.state == "done":
        raise BadInput(f"run {head.run} is done: pull its model, or {longer(head.run)}")


def end_attempt(
    store: Store,
    run: str,
    attempt: int,
    state: str,
    reason: str,
    *,
    clock: Callable[[], float] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    rng: random.Random | None = None,
) -> Head:
    """Write from outside that a run ended as "failed" or "stopped", e.g. for want of a machine.

    A worker that still holds the attempt is fenced by this. Fenced if the run is at another
    attempt; a HEAD that is not to be believed is put right first. BadInput if the run is done, or
    is being removed.
    """
    if state not in ("failed", "stopped"):
        raise ValueError(f"{state!r} cannot be declared from outside")

    def ended(head: Head) -> Head:
        must_be_at(head, attempt)
        _must_stay(head)
        if head.state == "done":
            raise BadInput(f"run {run} is done already")
        return replace(head, state=state, reason=reason, owner="")

    register = _register(store, run, sleep, rng)
    head = _read(register)
    _must_stay(head)
    if register.broken or head.attempt != attempt:
        _put_right(register, head, attempt, (clock or store.now)())
    return change(register, ended)


def must_be_at(head: Head, attempt: int) -> None:
    """Fenced if HEAD is at another attempt."""
    if head.attempt != attempt:
        raise Fenced(
            f"run {head.run} is at attempt {head.attempt}, this is attempt {attempt}: "
            "a newer one was ordered (or this one never was), this process stops"
        )


class Behind(StoreError):
    """HEAD is shown at an older attempt than one that is known to have been begun."""


def must_have_reached(head: Head, attempt: int) -> None:
    """Behind if HEAD is at an older attempt: a shared folder may show it as it was."""
    if head.attempt < attempt:
        raise Behind(
            f"{layout.head_key(head.run)} shows attempt {head.attempt}, older than attempt "
            f"{attempt}: the store answers from memory, or that attempt was never begun"
        )


def _read(register: Register) -> Head:
    head = register.read()
    if head is None:
        removed = tombstone.find(register.store, register.key.partition("/")[0])
        if removed is not None:
            raise BadInput(removed.sentence)
        raise BadInput(f"there is no {register.key} in {register.store.url}: check the name")
    return head


def change(
    register: Register, make: Callable[[Head], Head], say: Callable[[str], None] | None = None
) -> Head:
    """Read and swap HEAD until it succeeds or `make` refuses; BadInput if there is none.

    For changes that contend by design. Here another writer's nonce is no fence: a last commit
    of the attempt being replaced may come between read and swap. Nor is a HEAD that is behind:
    it is read again, with growing pauses, after one sentence to `say`.
    """
    contended = pauses(register.rng, register.tries)
    behind = pauses(register.rng, STALE_TRIES)
    last: MimirError | None = None
    while True:
        head = _read(register)
        try:
            make(head)
        except Behind as error:
            if say and not isinstance(last, Behind):
                say(f"{error}; looking again for two minutes")
            last, pause = error, next(behind, None)
        else:
            try:
                return register.swap(make)
            except Fenced as error:
                last, pause = error, next(contended, None)
        if pause is None:
            raise StoreError(f"{register.key} could not be changed: {last}") from last
        register.sleep(pause)
