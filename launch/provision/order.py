"""Order a machine for the next attempt of a run: at most one request for one attempt.

    order.json of attempt k+1 is created    who fails to create it, orders nothing
    HEAD goes from attempt k to k+1         who fails to swap it, orders nothing
    the machine is ordered                  by one request
    machine.json is created

Whatever dies in between leaves a record by which a watcher finds the machine, or sees that
there is none; it then begins attempt k+2 and never asks for k+1 again. The attempt is raised
before the machine is ordered, so that a machine of an older order can no longer take the run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from launch.contract import deadlines, pull
from launch.contract.errors import NoCapacity, NotGone, RateLimited, UnknownOutcome
from launch.contract.provider import AttemptSpec, Machine, Provider
from launch.payload import code_in_store, container, credentials
from launch.provision import kept_plan, terminate
from launch.provision.choice import Choice, intended
from launch.provision.plan import stop_asked
from launch.provision.refusals import Refusals
from mimir.errors import BadInput, Corrupt, Fenced, MimirError, StoreError
from mimir.runs import notes, sweep_state, tombstone
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.collect import collect
from mimir.runs.head import REMOVED
from mimir.runs.notes import Gone
from mimir.runs.order import Order, Plan
from mimir.runs.record import read_run, record_sha256
from mimir.runs.status import head_or_remembered, read_head
from mimir.runs.store import Store

Say = Callable[[str], None]
OFFERS_TRIED = 8
"""Offers of machines that cost money that are tried for one attempt."""
ASKED_AGAIN, LONGEST_WAIT = 3, 60.0
"""Times that an order is asked again after the service wanted a pause, and seconds of the longest
pause; beyond, the order fails."""


@dataclass(frozen=True)
class Ordered:
    """An attempt with its machine."""

    run: str
    attempt: int
    provider: Provider
    machine: Machine


def order(
    store: Store,
    run: str,
    choices: Sequence[Choice],
    plan: Plan,
    say: Say,
    *,
    after: int | None = None,
    since: int = 0,
    extra: Mapping[str, str] = MappingProxyType({}),
    start: int = 0,
    behind: str = "",
    sleep: Callable[[float], None] | None = None,
) -> Ordered:
    """Order the first of these machines that is available; each try is an attempt of its own.

    OFFERS_TRIED of those that cost money are tried. Where a service says which places have room,
    the same size there is tried next. Where it wants a pause, the same offer is asked for again
    after it, by a new attempt: the one that was refused stays refused.

    Args:
        after: the attempt that is replaced (default: the one at HEAD).
        since: the attempt that a person ordered, if this one goes on for it: what was asked
            since then holds (default: the first one that is begun here).
        extra: variables of the worker beside its keys; they stand in no document.
        start: number of the sweep's state that allows this order (`mimir.runs.sweep_state`); 0:
            it is allowed unless the sweep is being removed.
        behind: as AttemptSpec.behind.
        sleep: waits so many seconds where a service wants a pause (default: RateLimited is
            raised at once, for a caller that comes back anyway).

    Raises:
        Fenced: somebody else has begun an attempt meanwhile, the run or its sweep was asked to
            stop, or the sweep is being removed.
        NoCapacity: none was available. Unclear: all were refused in words that may mean a wrong
            request.
        UnknownOutcome, NotGone: there may be a machine of the last attempt; it stays unanswered,
            so that a watcher finds the machine, or sees that there is none.
        MimirError: what a provider, the store or its STS said; nothing else is tried then.
    """
    refused = Refusals()
    clock = store.now
    sweep = read_run(store, run).sweep  # a record of another build is refused before anything
    known = head_or_remembered(store, run)[0].attempt if after is None else after
    since = since or known + 1
    looked = tries = pauses = 0
    waiting = list(choices)
    while waiting:
        choice = waiting.pop(0)
        if refused.bar(choice.provider.name, choice.offer):
            continue
        if choice.offer is not None and choice.offer.price:
            if tries == OFFERS_TRIED:
                continue
            tries += 1
        intent = intended(store, run, choice, plan, known, since, looked)
        # Only over the attempt just refused: a person may have begun another one meanwhile.
        known = raise_attempt(store, run, intent, after=known, clock=clock)
        try:
            return _order(
                store, run, known, choice, intent, say, clock, extra, sweep, start, behind
            )
        except NoCapacity as error:
            say(f"not available: {error}")
            refused.add(choice.provider.name, choice.offer, error)
            looked = known - 1  # it was looked for before the provider was asked
            waiting.sort(key=lambda one: not refused.told_of_room(one.offer))
        except RateLimited as error:
            pauses += 1
            if sleep is None or pauses > ASKED_AGAIN or error.retry_after > LONGEST_WAIT:
                raise
            say(f"{error}; the order is sent again in {error.retry_after:.0f} s")
            sleep(error.retry_after)
            looked, tries = known - 1, tries - bool(choice.offer is not None and choice.offer.price)
            waiting.insert(0, choice)
    raise refused.all_together()


def give_up(store: Store, run: str, reason: str, say: Say) -> None:
    """Write that the run failed for want of a machine; one that comes up is turned away."""
    try:
        end_attempt(store, run, head_or_remembered(store, run)[0].attempt, "failed", reason)
    except MimirError as error:
        say(f"HEAD could not be told that run {run} has no machine: {error}")


def _order(
    store: Store, run: str, attempt: int, choice: Choice, intent: Order, say: Say,
    clock: Callable[[], float], extra: Mapping[str, str], sweep: str, start: int,
    behind: str,
) -> Ordered:  # fmt: skip
    provider = choice.provider
    try:
        spec = checked_spec(
            store, run, attempt, choice, intent, say, clock, extra, sweep, start, behind
        )
        machine = provider.start(spec)
    except (UnknownOutcome, NotGone, KeyboardInterrupt):
        # There may be a machine: only its list tells.
        kept_plan.note_order(store.url, run, clock(), choice.offer.price if choice.offer else None)
        raise
    except MimirError as error:
        note_refusal(store, run, attempt, str(error), clock, say)
        raise
    kept_plan.note_order(store.url, run, clock(), machine.price)
    machine = replace(machine, started=intent.time, estimate_hours=choice.estimate_hours)
    try:
        notes.record_machine(store, run, attempt, machine)
    except MimirError:
        provider.end(spec, machine)  # nobody would find it but by its name
        terminate.forget_keys(store, run, attempt)
        raise
    ordered = Ordered(run, attempt, provider, machine)
    settle_down(store, ordered, say, clock)
    return ordered


def checked_spec(
    store: Store, run: str, attempt: int, choice: Choice, intent: Order, say: Say,
    clock: Callable[[], float], extra: Mapping[str, str], sweep: str, start: int,
    behind: str,
) -> AttemptSpec:  # fmt: skip
    """What the provider is to start for an attempt that was just raised, checked once more.

    Raises:
        Fenced: nothing is to be started: as `order`.
        MimirError: of the store or its keys.
    """
    provider, plan = choice.provider, intent.plan
    if stop_asked(store, run, intent.asked_from, attempt):
        end_attempt(store, run, attempt, "stopped", "asked to stop")
        raise Fenced(f"attempt {attempt} of run {run} is not begun: the run was asked to stop")
    spec = AttemptSpec(
        store=store.url, run=run, attempt=attempt, env=extra,
        image=plan.image or (
            "" if provider.caps.queues else _image(store, run, attempt, intent, say)
        ),
        deadline=choice.deadline, offer=choice.offer, regions=plan.hosts.regions,
        card=plan.card, record=record_sha256(store, run), sweep=sweep,
        options=plan.options, behind=behind,
    )  # fmt: skip
    kept_plan.must_be_as_submitted(store.url, run, spec.record)
    spec = _with_keys(spec, provider, plan, say, clock)
    # Read HEAD again before money is spent: this computer may have been suspended since then.
    if why := _went_on(store, run, attempt):
        raise Fenced(f"{why} attempt {attempt}: nothing was ordered")
    if provider.caps.runs_installed_code and not spec.image:
        other = code_in_store.differs(store, run)
        if other:
            say(other)
    if sweep:
        _must_be_allowed(store, run, attempt, sweep, start)
    return spec


def settle_down(store: Store, ordered: Ordered, say: Say, clock: Callable[[], float]) -> None:
    """After the machine of an attempt is on record: end it if it came late, collect what is old.

    Fenced if it came late.
    """
    run = ordered.run
    _turn_back_if_late(store, ordered, clock)
    try:
        collect(store, run, say)
    except (StoreError, Corrupt) as error:  # a machine may have made HEAD unreadable
        say(f"what older attempts left could not be removed now: {error}")


def _must_be_allowed(store: Store, run: str, attempt: int, sweep: str, start: int) -> None:
    """Fenced if the sweep was stopped, removed or taken up by another launcher meanwhile.

    It is read after the attempt was raised: whoever stops or removes the sweep writes that first
    and looks at the attempts afterwards, so one of the two always sees the other.
    """
    state = sweep_state.read(store, sweep)
    if state.word != sweep_state.REMOVED and start in (0, state.number):
        return
    said = f"sweep {sweep} was stopped, removed or taken up by another launcher"
    # Left unended, a watcher would go on with it under this launcher's limits. Of a sweep that is
    # gone nothing is left to write to.
    if state.number:
        end_attempt(store, run, attempt, "stopped", said)
    raise Fenced(f"attempt {attempt} of run {run} is not begun: {said}")


def _image(store: Store, run: str, attempt: int, intent: Order, say: Say) -> str:
    """The public image's other name, if the last machine could not pull the one; else ""."""
    last, refused = attempt - 1, intent.refused
    if refused and refused[-1][1] == last:
        last = refused[-1][0] - 1
    gone = notes.read_gone(store, run, last) if last else None
    if gone is None or not pull.FAILED.search(gone.why):
        return ""
    machine = notes.read_machine(store, run, last)
    tried = (machine.image if machine else "") or container.default_image()
    other = container.PUBLIC_IMAGES.get(tried, "")
    if other:
        say(f"{tried} could not be pulled: attempt {attempt} uses {other}, which is the same image")
    return other


def _with_keys(
    spec: AttemptSpec, provider: Provider, plan: Plan, say: Say, clock: Callable[[], float]
) -> AttemptSpec:
    """The spec with the attempt's own keys; a rented machine's attempt ends before they do."""
    caps = provider.caps
    if caps.queues:
        return spec  # it may wait longer than any key lives, and has the account's own
    made = credentials.for_machine(spec, plan.keys, foreign=caps.remote, clock=clock)
    if made is None:
        return spec
    spec = replace(spec, env={**spec.env, **made.environment()})
    if caps.remote and made.expires is not None:
        last = made.expires - deadlines.COMMIT_BEFORE_KEYS_END
        if not spec.deadline or spec.deadline > last:
            hours = (last - clock()) / 3600
            say(
                f"the machine's keys allow {hours:.1f} h: attempt {spec.attempt} commits and ends "
                "then, and `python -m launch watch` begins the next"
            )
            return replace(spec, deadline=last)
    elif made.warning:
        say(made.warning)
    return spec


def _went_on(store: Store, run: str, attempt: int) -> str:
    """What became of the run without the attempt, "" if it waits for its machine.

    The tombstone is read after the attempt was raised: who removes the run writes it first and
    looks for machines afterwards, so one of the two always sees the other.
    """
    head, removed = read_head(store, run), tombstone.find(store, run)
    if head.state == REMOVED or (removed is not None and removed.word == tombstone.DELETING):
        return f"run {run} is being removed, without"
    return f"run {run} went on without" if head.attempt != attempt else ""


def _turn_back_if_late(store: Store, ordered: Ordered, clock: Callable[[], float]) -> None:
    """End a machine that came after its replacement, or whose run is removed or unreadable."""
    run, attempt = ordered.run, ordered.attempt
    why = "it came after its replacement was ordered, or after the run was removed"
    try:
        found = _went_on(store, run, attempt)
        if not found:
            return
    except (BadInput, Corrupt) as error:  # nobody could supervise it
        why, found = f"its run cannot be read: {error}", f"run {run} cannot be read ({error}) at"
    ordered.provider.end(AttemptSpec(store.url, run, attempt), ordered.machine)
    terminate.forget_keys(store, run, attempt)
    notes.record_gone(store, run, attempt, Gone(clock(), "over", why))
    raise Fenced(f"{found} attempt {attempt}: its machine is ended")


def note_refusal(
    store: Store, run: str, attempt: int, reason: str, clock: Callable[[], float], say: Say
) -> None:
    """Write that there is no machine of the attempt, and why."""
    try:
        notes.record_gone(store, run, attempt, Gone(clock(), "refused", reason))
    except MimirError as error:
        say(f"that attempt {attempt} has no machine could not be written: {error}")
