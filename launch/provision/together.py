"""Order one job that several runs share: an attempt of each, then one request.

    of each run: order.json of attempt k+1 is created, with the job's name in it
                 HEAD goes from attempt k to k+1
    the job is ordered, by one request, for those runs whose HEAD could be raised
    of each run: machine.json is created, with the same job in it

Whatever dies in between leaves runs whose order has no answer, as after an order of one run. The
name that stands in it is used once, so that the job is found by it or is not there.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from launch.contract.errors import NotGone, UnknownOutcome
from launch.contract.provider import AttemptSpec, Machine
from launch.provision import kept_plan
from launch.provision.choice import Choice, intended
from launch.provision.order import Ordered, Say, checked_spec, note_refusal, settle_down
from mimir.errors import MimirError
from mimir.runs import notes
from mimir.runs.begin import raise_attempt
from mimir.runs.order import Order, Plan, Shared
from mimir.runs.record import read_run
from mimir.runs.store import Store

_LONGEST = 30
"""Characters of the sweep's name in the job's: with what follows, no more than a run's may have."""


@dataclass(frozen=True)
class Wanted:
    """A run for the job. after: the attempt that is replaced."""

    run: str
    choice: Choice
    plan: Plan
    after: int


@dataclass(frozen=True)
class _Raised:
    wanted: Wanted
    attempt: int
    intent: Order
    spec: AttemptSpec


def order_together(
    store: Store, sweep: str, wanted: Sequence[Wanted], say: Say, *, start: int, behind: str = ""
) -> dict[str, MimirError]:
    """Order a job for these runs of a sweep, all from one provider and with equal options.

    Args:
        start: number of the sweep's state that allows this order.
        behind: as AttemptSpec.behind.

    Returns:
        The runs that have no machine by this, and why.

    Raises:
        UnknownOutcome, NotGone: there may be a job; all stay unanswered.
        MimirError: there is none for any of them.
    """
    clock = store.now
    shared = Shared(f"{sweep[:_LONGEST]}-j{secrets.token_hex(4)}",
                    tuple(each.run for each in wanted))  # fmt: skip
    failed: dict[str, MimirError] = {}
    raised: list[_Raised] = []
    for each in wanted:
        try:
            raised.append(_raise(store, each, shared, say, clock, start, behind))
        except MimirError as error:
            failed[each.run] = error
    if not raised:
        return failed
    first, *others = (each.spec for each in raised)
    beside = tuple((each.run, each.attempt, each.record) for each in others)
    provider = raised[0].wanted.choice.provider
    try:
        machine = provider.start(replace(first, job=shared.job, beside=beside))
    except (UnknownOutcome, NotGone, KeyboardInterrupt):
        for one in raised:  # there may be a job: only its cluster's list tells
            kept_plan.note_order(store.url, one.wanted.run, clock(), None)
        raise
    except MimirError as error:
        for one in raised:
            note_refusal(store, one.wanted.run, one.attempt, str(error), clock, say)
        raise
    for one in raised:
        try:
            _take_down(store, one, machine, say, clock)
        except MimirError as error:
            failed[one.wanted.run] = error
    return failed


def _raise(
    store: Store, wanted: Wanted, shared: Shared, say: Say, clock: Callable[[], float],
    start: int, behind: str,
) -> _Raised:  # fmt: skip
    run, choice, plan = wanted.run, wanted.choice, wanted.plan
    sweep = read_run(store, run).sweep
    since = wanted.after + 1
    intent = intended(store, run, choice, plan, wanted.after, since, shared=shared)
    attempt = raise_attempt(store, run, intent, after=wanted.after, clock=clock)
    try:
        spec = checked_spec(
            store, run, attempt, choice, intent, say, clock, {}, sweep, start, behind
        )
    except MimirError as error:
        note_refusal(store, run, attempt, str(error), clock, say)
        raise
    return _Raised(wanted, attempt, intent, spec)


def _take_down(
    store: Store, raised: _Raised, machine: Machine, say: Say, clock: Callable[[], float]
) -> None:
    """Write the job down as the machine of one run. What cannot be written the job writes itself
    when it starts, or a watcher that finds it by its name."""
    run, attempt, choice = raised.wanted.run, raised.attempt, raised.wanted.choice
    kept_plan.note_order(store.url, run, clock(), None)
    own = replace(
        machine.shared_by(run), started=raised.intent.time, estimate_hours=choice.estimate_hours
    )
    notes.record_machine(store, run, attempt, own)
    settle_down(store, Ordered(run, attempt, choice.provider, own), say, clock)
