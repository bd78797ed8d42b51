"""An attempt is raised before its machine is ordered, and watched until it begins."""

import itertools
import time

import pytest

from launch.contract import deadlines
from launch.contract.cloud import State
from launch.contract.errors import NoCapacity, NotGone, UnknownOutcome
from launch.contract.provider import Caps
from launch.provision import liveness
from launch.provision import order as ordering
from launch.provision import wait as attempts
from launch.provision.choice import Choice
from launch.provision.order import Ordered
from launch.provision.wait import await_beginning, end_machine, retire
from mimir.errors import BadInput, Fenced, MimirError, StoreError
from mimir.runs import layout, notes
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.notes import Heartbeat, Outcome
from mimir.runs.order import Plan
from mimir.runs.status import derive, read_head
from mimir.runs.store import Store
from tests.launch.conftest import Clock, Fake


def say(line: str) -> None:
    raise AssertionError(line)


def order(store: Store, run: str, fake: Fake, say: ordering.Say, deadline: float = 0.0) -> Ordered:
    choices = [Choice(fake, deadline=deadline)]
    return ordering.order(store, run, choices, Plan((fake.name,)), lambda line: None)


def order_or_fail(store: Store, run: str, fake: Fake) -> Ordered:
    """As `submit` does it."""
    try:
        return order(store, run, fake, say)
    except MimirError as error:
        ordering.give_up(store, run, str(error), say)
        raise


def test_the_attempt_is_raised_before_the_order(store: Store, fake: Fake) -> None:
    fake.at_start = lambda spec: seen.append((read_head(store, "run").attempt, spec.attempt))
    seen: list[tuple[int, int]] = []
    ordered = order(store, "run", fake, say)
    assert seen == [(1, 1)]
    assert notes.read_machine(store, "run", 1) == ordered.machine
    assert fake.orders[0].store == store.url


@pytest.mark.parametrize(
    "error", [NoCapacity("none left"), UnknownOutcome("no answer"), StoreError("STS is away")]
)
def test_a_failed_order_fails_the_run_and_turns_late_machines_away(
    store: Store, fake: Fake, error: Exception
) -> None:
    fake.fails = error
    with pytest.raises(type(error)):
        order_or_fail(store, "run", fake)
    status = derive(store, "run", store.now())
    assert (status.state, status.reason) == ("failed", str(error))
    assert "failed" in Attempt.claim(store, "run", 1).ended
    fake.fails = None
    assert order(store, "run", fake, say).attempt == 2


def test_the_deadline_reaches_the_machine(store: Store, fake: Fake) -> None:
    order(store, "run", fake, say, deadline=123.0)
    assert fake.orders[0].deadline == 123.0


def test_the_order_sweeps_what_abandoned_attempts_left(store: Store, fake: Fake) -> None:
    raise_attempt(store, "run")
    Attempt.claim(store, "run", 1)
    key = layout.checkpoint_key("run", 1, 7, "abc123abc123")
    store.put_content(key, b"never committed")
    order(store, "run", fake, say)
    assert key not in list(store.list("run/"))


def test_done_is_refused_before_anything_is_ordered(store: Store, fake: Fake) -> None:
    raise_attempt(store, "run")
    Attempt.claim(store, "run", 1).finish("done")
    with pytest.raises(BadInput, match="done"):
        order(store, "run", fake, say)
    assert not fake.orders


def wait(store: Store, ordered: Ordered, clock: Clock) -> attempts.Beginning:
    return await_beginning(store, ordered, lambda text: None, sleep=clock.sleep, clock=clock)


def claim(store: Store) -> Attempt:
    return Attempt.claim(store, "run", 1)


def test_begins(store: Store, fake: Fake, clock: Clock) -> None:
    ordered = order(store, "run", fake, say)

    def at_sleep(number: int) -> None:
        if number == 3:
            claim(store)
        if number == 5:
            notes.write_heartbeat(store, "run", 1, Heartbeat(time.time(), 0, 10))

    clock.at_sleep = at_sleep
    assert wait(store, ordered, clock).kind == "running"
    assert clock.sleeps == 5


def test_claimed_but_busy_building(store: Store, fake: Fake, clock: Clock) -> None:
    ordered = order(store, "run", fake, say)
    claim(store)
    assert wait(store, ordered, clock).kind == "running"
    assert attempts.FIRST_HEARTBEAT <= clock.now - 1000 <= attempts.FIRST_HEARTBEAT + 1


def test_ends_at_once(store: Store, fake: Fake, clock: Clock) -> None:
    ordered = order(store, "run", fake, say)
    claim(store)
    store.put_if_absent("run/a0001/log/000001.txt", b"one\ntwo\n")
    notes.record_outcome(store, "run", 1, Outcome(78, "no GPU", time.time(), 0))
    seen = wait(store, ordered, clock)
    assert (seen.kind, seen.code, seen.lines) == ("ended", 78, ("one", "two"))
    assert "no GPU" in seen.sentence


def test_a_machine_that_is_less_than_ordered_is_a_watchers_to_replace(
    store: Store, fake: Fake, clock: Clock
) -> None:
    ordered = order(store, "run", fake, say)
    fake.living = False
    notes.record_outcome(store, "run", 1, Outcome(75, "a small disk", time.time(), 0, "host"))
    seen = wait(store, ordered, clock)
    assert (seen.kind, seen.code) == ("short", 75)
    assert read_head(store, "run").state == "queued", "the run goes on"


def test_a_crash_is_resumable(store: Store, fake: Fake, clock: Clock) -> None:
    ordered = order(store, "run", fake, say)
    claim(store)
    notes.record_outcome(store, "run", 1, Outcome(1, "crashed: KeyError", time.time(), 0))
    assert wait(store, ordered, clock).code == 75


@pytest.mark.parametrize(
    ("caps", "state"),
    [
        (Caps(paid=False), "failed"),
        (Caps(paid=True), "queued"),
        (Caps(paid=False, foreign=True), "queued"),
    ],
    ids=["local", "paid", "foreign"],
)
def test_dead_on_arrival(caps: Caps, state: str, store: Store, fake: Fake, clock: Clock) -> None:
    """A machine of somebody else's may have been taken away: its run goes on, by a watcher."""
    fake.caps = caps
    ordered = order(store, "run", fake, say)
    fake.living = False
    seen = wait(store, ordered, clock)
    assert (seen.kind, seen.code, seen.lines) == ("vanished", 75, ("what it printed",))
    assert read_head(store, "run").state == state


def test_gone_after_the_claim_leaves_head_alone(store: Store, fake: Fake, clock: Clock) -> None:
    ordered = order(store, "run", fake, say)
    claim(store)
    fake.living = False
    assert wait(store, ordered, clock).kind == "vanished"
    assert read_head(store, "run").state == "running"


def test_replaced_meanwhile(store: Store, fake: Fake, clock: Clock) -> None:
    ordered = order(store, "run", fake, say)
    order(store, "run", fake, say)
    seen = wait(store, ordered, clock)
    assert (seen.kind, seen.code) == ("replaced", 76)
    with pytest.raises(Fenced):
        claim(store)


def test_no_sign(store: Store, fake: Fake, clock: Clock) -> None:
    fake.caps = Caps(paid=False)
    seen = wait(store, order(store, "run", fake, say), clock)
    assert (seen.kind, seen.code) == ("waiting", 75)
    assert clock.now - 1000 > attempts.LOCAL_BEGINS


def test_a_rented_machine_is_lost_after_as_long_as_for_watch(
    store: Store, fake: Fake, clock: Clock
) -> None:
    said: list[str] = []
    ordered = order(store, "run", fake, say)
    seen = await_beginning(store, ordered, said.append, sleep=clock.sleep, clock=clock)
    assert (seen.kind, seen.code, seen.lines) == ("lost", 75, ("what it printed",))
    assert 0 <= clock.now - 1000 - deadlines.BEGIN_WITHIN <= 2
    assert "gave no sign within 25 min" in seen.sentence
    assert set(said) == {
        "waiting for attempt 1 to begin: its machine is running, paid; without a sign it is ended "
        "25 min after its order"
    }
    assert not fake.ended, "that is for who waits, or for a watcher"


def test_the_time_is_counted_from_the_order(
    store: Store, fake: Fake, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop that was shut meanwhile counts no seconds of its own."""
    ordered = order(store, "run", fake, say)
    later = time.time() + deadlines.BEGIN_WITHIN + 1
    monkeypatch.setattr(type(store), "now", lambda _: later)
    assert wait(store, ordered, clock).kind == "lost"
    assert clock.now == 1000


@pytest.mark.parametrize(
    ("state", "taken", "words"),
    [
        (State.BROKEN, None, "its machine is broken (its service says OUT_OF_ORDER)"),
        (State.SUSPENDED, None, "its machine was taken away (its service says OUT_OF_ORDER)"),
        (State.BROKEN, True, "its machine was taken away (its service says OUT_OF_ORDER)"),
        (State.SUSPENDED, False, "its machine is broken (its service says OUT_OF_ORDER)"),
    ],
)
def test_a_machine_that_breaks_while_it_comes_up(
    state: State, taken: bool | None, words: str, store: Store, fake: Fake, clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ordered = order(store, "run", fake, say)
    monkeypatch.setattr(
        liveness, "asked", lambda *_: liveness.Asked(state, "OUT_OF_ORDER", taken=taken)
    )
    seen = wait(store, ordered, clock)
    assert seen.kind == "lost"
    assert words in seen.sentence


def test_the_service_is_not_asked_at_every_look(store: Store, fake: Fake, clock: Clock) -> None:
    asked: list[float] = []
    ordered = order(store, "run", fake, say)
    fake.alive = lambda machine: not asked.append(clock.now)  # type: ignore[method-assign]
    wait(store, ordered, clock)
    gaps = [b - a for a, b in itertools.pairwise(asked)]
    assert min(gaps) >= attempts.ASK_SERVICE


def test_a_store_that_is_away_ends_no_machine(
    store: Store, fake: Fake, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered = order(store, "run", fake, say)

    def away(*_: object) -> None:
        raise StoreError("it is away")

    monkeypatch.setattr(attempts, "_seen", lambda *_, **__: away())
    with pytest.raises(StoreError, match="it is away"):
        wait(store, ordered, clock)
    assert clock.now - 1000 > deadlines.BEGIN_WITHIN
    assert not fake.ended


def test_the_end_of_a_machine_is_seen_and_written(store: Store, fake: Fake) -> None:
    ordered = order(store, "run", fake, say)
    end_machine(store, ordered, "failure", "it gave no sign")
    assert fake.ended == [ordered.machine]
    gone = notes.read_gone(store, "run", 1)
    assert (gone and gone.kind, gone and gone.why) == ("failure", "it gave no sign")


def test_a_machine_that_cannot_be_ended_is_not_called_gone(store: Store, fake: Fake) -> None:
    ordered = order(store, "run", fake, say)
    fake.living = None
    for paid in (True, False):
        fake.caps = Caps(paid=paid, foreign=True)
        with pytest.raises(NotGone):
            end_machine(store, ordered, "failure", "it gave no sign")
    assert notes.read_gone(store, "run", 1) is None


def test_retire_ends_the_machine_and_writes_it_down(store: Store, fake: Fake) -> None:
    ordered = order(store, "run", fake, say)
    claim(store)
    now = time.time()
    retire(store, derive(store, "run", now), say)
    assert fake.ended == [ordered.machine]
    gone = notes.read_gone(store, "run", 1)
    assert gone is not None
    assert gone.kind == "over"  # from here on nobody counts it as paid
    retire(store, derive(store, "run", now), say)
    assert fake.ended == [ordered.machine]


def test_retire_says_what_it_cannot_end_unless_it_costs(store: Store, fake: Fake) -> None:
    order(store, "run", fake, say)
    claim(store)
    fake.living = None
    with pytest.raises(NotGone):  # it costs money: two are not paid for one run
        retire(store, derive(store, "run", store.now()), say)
    fake.caps = Caps(paid=False)
    said: list[str] = []
    retire(store, derive(store, "run", store.now()), said.append)
    assert "may still run" in said[0]
    fake.living = False
    retire(store, derive(store, "run", store.now()), say)
    assert not fake.ended
