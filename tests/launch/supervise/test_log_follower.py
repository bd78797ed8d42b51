"""Following a log: attempt after attempt, to the end and not beyond it."""

import time
from typing import Any

import pytest

from launch.supervise import log_follower
from launch.supervise.log_follower import Follower
from mimir.errors import StoreDenied, StoreError
from mimir.runs import notes, orders
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import Heartbeat, Outcome
from mimir.runs.status import read_head
from mimir.runs.store import Store
from tests.launch.conftest import Clock, Fake


class Script:
    """A follower under a clock; `steps` are done at the sleeps of these numbers."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.out: list[str] = []
        self.said: list[str] = []
        self.store = store
        self.follower = Follower(
            store, "run", 1, out=self.out.append, say=self.said.append, sleep=clock.sleep,
            clock=clock,
        )  # fmt: skip

    def part(self, attempt: int, number: int, text: str) -> None:
        self.store.put_if_absent(f"run/a{attempt:04d}/log/{number:06d}.txt", text.encode())

    def outcome(self, attempt: int, code: int) -> None:
        notes.record_outcome(self.store, "run", attempt, Outcome(code, "so", time.time(), 0))


@pytest.fixture
def script(store: Store, clock: Clock) -> Script:
    raise_attempt(store, "run")
    Attempt.claim(store, "run", 1)
    return Script(store, clock)


def test_parts_as_they_come_and_each_once(script: Script, clock: Clock) -> None:
    script.part(1, 1, "one\n")

    def at_sleep(number: int) -> None:
        if number == 2:
            script.part(1, 2, "two\n")
        if number == 4:
            script.part(1, 3, "three\n")
            script.outcome(1, 75)

    clock.at_sleep = at_sleep
    followed = script.follower.follow()
    assert script.out == ["one\n", "two\n", "three\n"]
    assert followed.status.state == "interrupted"
    assert not followed.vanished
    assert clock.sleeps == 4


def test_goes_over_to_the_next_attempt(script: Script, store: Store, clock: Clock) -> None:
    def at_sleep(number: int) -> None:
        if number == 1:
            script.part(1, 1, "first\n")
            raise_attempt(store, "run")
        if number == 4:
            attempt = Attempt.claim(store, "run", 2)
            script.part(2, 1, "second\n")
            attempt.finish("done")
            script.outcome(2, 0)

    clock.at_sleep = at_sleep
    assert script.follower.follow().status.state == "done"
    assert script.out == ["first\n", "second\n"]
    assert script.said == ["attempt 2 goes on"]


def test_an_attempt_that_is_ordered_while_the_round_looks_is_followed(
    script: Script, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older one has ended, and the round saw HEAD before the next was ordered."""
    script.outcome(1, 75)
    read = log_follower.read_parts

    def ordered_meanwhile(*args: Any) -> Any:
        if read_head(store, "run").attempt == 1:
            raise_attempt(store, "run")
            attempt = Attempt.claim(store, "run", 2)
            script.part(2, 1, "second\n")
            attempt.finish("done")
            script.outcome(2, 0)
        return read(*args)

    monkeypatch.setattr(log_follower, "read_parts", ordered_meanwhile)
    assert script.follower.follow().status.state == "done"
    assert script.out == ["second\n"]
    assert script.said == ["attempt 2 goes on"]


def test_an_order_that_never_reached_head_is_no_reason_to_go_on(
    script: Script, store: Store, clock: Clock
) -> None:
    """Its launcher died before it raised HEAD: the run is disputed, and the following ends."""
    notes.record_order(store, "run", 2, orders.by_hand("terminal", store.now() - 999.0))
    script.outcome(1, 75)
    assert script.follower.follow().status.attempt == 2
    assert clock.sleeps == 0


def test_waits_for_the_last_words_of_a_run_that_is_done(
    script: Script, store: Store, clock: Clock
) -> None:
    # A new claim by this process takes the attempt over from the fixture's.
    Attempt.claim(store, "run", 1).finish("done")

    def at_sleep(number: int) -> None:
        if number == 3:
            script.part(1, 1, "last\n")
            script.outcome(1, 0)

    clock.at_sleep = at_sleep
    script.follower.follow()
    assert script.out == ["last\n"]


def test_but_not_forever(script: Script, store: Store, clock: Clock) -> None:
    Attempt.claim(store, "run", 1).finish("done")
    script.follower.follow()
    assert 10 < clock.now - 1000 < 20


def test_a_vanished_machine(script: Script, store: Store, fake: Fake, clock: Clock) -> None:
    notes.record_machine(store, "run", 1, Machine("fake", 1000.0))

    def at_sleep(number: int) -> None:
        fake.living = number < 8

    clock.at_sleep = at_sleep
    followed = script.follower.follow()
    assert followed.vanished
    assert followed.status.state == "running"
    assert clock.sleeps >= 8


def test_silence_is_said_once(script: Script, store: Store, clock: Clock) -> None:
    """By what changes while one follows: the machine's clock stands still."""

    def beat(step: int) -> None:
        notes.write_heartbeat(store, "run", 1, Heartbeat(5.0, step, 10, interval_s=5.0))

    def at_sleep(number: int) -> None:
        if number % 5 == 0 and number <= 100:
            assert not script.said
            beat(number)
        if number == 200:
            script.outcome(1, 75)

    beat(0)
    clock.at_sleep = at_sleep
    script.follower.follow()
    assert len(script.said) == 1
    assert "no sign for 2" in script.said[0]


def test_an_outage_of_the_store(
    script: Script, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.part(1, 1, "one\n")
    script.outcome(1, 75)
    real = type(store).read

    def away(self: Store, key: str, **limit: int) -> object:
        if clock.sleeps < 5:
            raise StoreError("connection reset")
        return real(self, key, **limit)

    monkeypatch.setattr(type(store), "read", away)
    script.follower.follow()
    assert script.out == ["one\n"]
    assert len(script.said) == 1


def test_no_permission_is_no_outage(
    script: Script, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: Store, key: str) -> object:
        raise StoreDenied("the key has expired")

    monkeypatch.setattr(type(store), "read", denied)
    with pytest.raises(StoreDenied):
        script.follower.follow()
