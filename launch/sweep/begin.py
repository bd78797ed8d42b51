"""Begins one run of a sweep, or several that share a job, as `submit` and `resume` begin a run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from launch.contract.errors import AuthFailed, BalanceEmpty, Misconfigured
from launch.providers import registry
from launch.provision import choose, kept_plan, settle
from launch.provision.choice import Choice
from launch.provision.order import Say, give_up, order
from launch.provision.together import Wanted, order_together
from launch.provision.wait import retire
from launch.supervise import diagnosis
from launch.ui import confirm
from mimir.errors import BadInput, Fenced, MimirError
from mimir.runs.order import Plan
from mimir.runs.status import Status, derive
from mimir.runs.store import Store
from mimir.runs.sweep import Member, Sweep

FOR_A_PERSON = (AuthFailed, BalanceEmpty, Misconfigured)
"""What waiting does not mend: it ends the command, and the run whose order it was. A watcher, whose
words may be read by nobody for days, ends no run by it: it asks again, as it does for machines."""


def begin(
    store: Store, sweep: Sweep, member: Member, status: Status, plan: Plan, say: Say, number: int,
    behind: str = "", *, gives_up: bool = True,
) -> None:  # fmt: skip
    """Order a machine for a run of the sweep that has none.

    number: of the sweep's state that allows this. behind: as `launch.provision.order.order`.
    gives_up: as `launch.sweep.keep.Keeper`.

    Raises:
        BadInput: it is at work already, or the limits are too small.
        MimirError: as `launch.provision.order.order`.
    """
    run = member.run
    plan, choices, after = _ready(store, sweep, member, status, plan, say)
    try:
        order(store, run, choices, plan, say, after=after, start=number, behind=behind)
    except (*FOR_A_PERSON, BadInput) as error:
        if gives_up:
            give_up(store, run, str(error), say)
        raise


def begin_together(
    store: Store, sweep: Sweep, members: Sequence[Member], found: Mapping[str, Status], plan: Plan,
    say: Say, number: int, behind: str = "",
) -> dict[str, MimirError]:  # fmt: skip
    """Order one job for runs of the sweep that have none; those that have none now, and why.

    found: their statuses. number, behind: as `begin`.

    Raises:
        MimirError: none of them has a job, or nobody knows.
    """
    failed: dict[str, MimirError] = {}
    wanted: list[Wanted] = []
    for member in members:
        try:
            ready, choices, after = _ready(store, sweep, member, found[member.run], plan, say)
        except MimirError as error:
            failed[member.run] = error
        else:
            wanted.append(Wanted(member.run, choices[0], ready, after))
    try:
        failed |= order_together(store, sweep.name, wanted, say, start=number, behind=behind)
    except (*FOR_A_PERSON, BadInput) as error:
        for each in wanted:
            give_up(store, each.run, str(error), say)
        raise
    return failed


def _ready(
    store: Store, sweep: Sweep, member: Member, status: Status, plan: Plan, say: Say
) -> tuple[Plan, Sequence[Choice], int]:
    """(its plan, what may be ordered, the attempt that is replaced) of a run that has no machine;
    one that is on record is ended."""
    run = member.run
    if settle.run(store, status):
        status = derive(store, run, store.now())
    last = status.attempts[-1].order if status.attempts else None
    if sign := diagnosis.busy(diagnosis.observe(status, last)):
        raise Fenced(f"attempt {status.attempt} {sign}")
    retire(store, status, say)
    plan = replace(plan, steps=member.steps)
    places = [registry.get(name) for name in plan.providers]
    steps = max(1, member.steps - status.committed_step)
    market = choose.ask(store, plan, sweep.config(member), steps, run, status)
    spent = choose.spent(status, store.now())
    plan = confirm.limited(plan, choose.preferred(market, status), spent)
    found = choose.within(plan, market, status, store.now())
    choose.must_fit(plan, found)
    if not found.choices:
        raise choose.nothing(plan, found)
    kept_plan.keep(store, run, plan, places)
    return plan, found.choices, status.attempt
