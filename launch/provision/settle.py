"""Machines that have ended by themselves while nobody watched: asked after, and written down.

A machine that nobody has seen to be gone counts until now, or until its deadline. So before money
is counted the services are asked after those whose work is over. When one ended, the service does
not tell. Its last sign does, by the store's time and not by what it says, and it is never believed
against what the launcher knows: nothing of a machine that cannot end itself, which counts until it
was asked after or its service says that it was off, and nothing against the service's own bill. One
without a sign counts as long as it was allowed. What is left of a machine that is off is deleted.
"""

from collections.abc import Callable

from launch.contract import deadlines
from launch.contract.cloud import State
from launch.contract.errors import AuthFailed
from launch.contract.provider import AttemptSpec, Provider
from launch.pricing import budget
from launch.providers import registry
from launch.providers.rented import Rented
from launch.provision import liveness, terminate
from mimir.errors import Corrupt, MimirError
from mimir.runs import notes, orders
from mimir.runs.attempts import AttemptStatus, record_gone
from mimir.runs.head import ENDED
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone, Outcome
from mimir.runs.order import Order
from mimir.runs.status import Status
from mimir.runs.store import Store

NEVER_ANSWERED = "its order was never answered"
NO_ANSWER = "its service does not answer"
STILL_THERE = "its machine is still there"


def run(store: Store, status: Status, provider: Callable[[str], Provider] | None = None) -> bool:
    """Settle all paid machines of a run; whether the status has changed thereby."""
    changed = False
    for attempt in status.attempts:
        if attempt.gone is None and budget.price_of(attempt):
            gone, _ = settle(store, status.run, attempt, status.attempt, status.at, provider)
            changed |= gone is not None
    return changed


def settle(
    store: Store, run: str, attempt: AttemptStatus, newest: int, now: float,
    provider: Callable[[str], Provider] | None = None,
) -> tuple[Gone | None, str]:  # fmt: skip
    """That the attempt's machine is gone, now on record; else None, and why it counts on.

    Why is "" for one that may be at work. newest: the run's newest attempt. now: unix s by the
    store's clock. StoreError if the store does not answer.
    """
    machine, order = attempt.machine, attempt.order
    if order is None or now - order.time < deadlines.LISTED_WITHIN:
        return None, ""  # the service may not list it yet
    if machine is None:
        return None, NEVER_ANSWERED
    end = notes.unless_damaged(notes.read_end, store, run, attempt.attempt)
    sign = notes.unless_damaged(notes.read_sign, store, run, attempt.attempt)
    replaced = attempt.attempt < newest
    at_work = sign is not None and abs(now - sign.written) <= deadlines.SILENT_FOR
    at_work |= sign is None and now - order.time <= deadlines.BEGIN_WITHIN
    if at_work and not (end or replaced or _is_over(store, run)):
        return None, ""
    there = liveness.asked(machine, provider)
    if there.state is State.BROKEN and there.stopped is not None:
        try:  # what is left of it costs, and nobody needs it
            place = (provider or registry.get)(machine.provider)
            place.end(AttemptSpec(store.url, run, attempt.attempt), machine)
        except MimirError as error:
            return None, f"its machine is off, and what is left of it cannot be deleted: {error}"
    elif there.state is not State.GONE:
        return None, there.problem or (NO_ANSWER if there.state is None else STILL_THERE)
    until = terminate.paid_until(there.stopped, machine.started, now)
    unended = notes.unless_damaged(notes.read_unended, store, run, attempt.attempt)
    if machine.ends_itself and unended is None:
        said = ([end[1]] if end else []) + ([sign.written] if sign else [])
        last = max(said) + deadlines.SELF_TERMINATE_WITHIN if said else 0.0
        try:
            billed = _billed_until(machine, order, now, provider)
        except MimirError as error:
            return None, f"its machine is gone, and its bill cannot be read: {error}"
        until = max(last or liveness.overdue_from(machine, order) or now, billed)
    kind, why = _loss(end[0] if end else None, replaced, begun=sign is not None)
    gone = Gone(max(order.time, min(until, now)), kind, why)
    terminate.forget_keys(store, run, attempt.attempt)
    record_gone(store, run, attempt, gone)
    return notes.read_gone(store, run, attempt.attempt), ""


def _is_over(store: Store, run: str) -> bool:
    try:
        head = orders.head_or_remembered(store, run)
    except Corrupt:
        return False
    return head is not None and head[0].state in ENDED


def _billed_until(
    machine: Machine, order: Order, now: float, provider: Callable[[str], Provider] | None
) -> float:
    """Until when its service has billed it at its rate, unix s.

    The time of the order for a service that tells no bills, or not to this key, and before it has
    billed. ProviderError if it does not answer now.
    """
    place = (provider or registry.get)(machine.provider)
    if not isinstance(place, Rented) or not machine.price:
        return order.time
    try:
        found = place.billed([machine.id], order.time, now) or {}
    except AuthFailed:
        return order.time
    return order.time + budget.HOUR * found.get(machine.id, 0.0) / machine.price


def _loss(outcome: Outcome | None, replaced: bool, *, begun: bool) -> tuple[str, str]:
    """(kind, why) as a watcher would have written it."""
    if replaced:
        return "over", "a later attempt replaced it"
    if outcome is None:
        if begun:
            return "eviction", "its machine is gone"
        return "failure", "its machine is gone, and it had not begun"
    kind = {"deadline": "over", "stop": "over", "signal": "eviction"}.get(outcome.cause, "failure")
    reason = outcome.reason or f"exit code {outcome.exit_code}"
    return ("over" if outcome.exit_code == 0 else kind), reason
