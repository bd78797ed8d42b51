"""Which machines that bear our name work for no run of a store, and what becomes of them."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from launch.contract import deadlines
from launch.contract.cloud import Instance, State
from launch.contract.errors import AuthFailed, ProviderError
from launch.supervise import reaper
from mimir.errors import StoreError
from mimir.runs import layout, notes
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone
from tests.launch.paper import START, Desk, Paper, named, offer

NAME = named("run", 1)


def at_work(desk: Desk) -> None:
    """Attempt 1 is ordered, on record and raised; its machine is i1."""
    desk.begin()
    notes.record_machine(desk.store, "run", 1, Machine("runpod", START, "i1"))
    desk.work(1)


def done(desk: Desk) -> None:
    at_work(desk)
    end_attempt(desk.store, "run", 1, "failed", "so it was")


def settled(desk: Desk) -> None:
    """It failed by itself, and HEAD does not know."""
    at_work(desk)
    desk.end(1, 78, reason="no GPU")


def interrupted(desk: Desk) -> None:
    at_work(desk)
    desk.end(1, 75)


def replaced(desk: Desk) -> None:
    at_work(desk)
    raise_attempt(desk.store, "run")


def given_up(desk: Desk) -> None:
    desk.begin()
    notes.record_gone(desk.store, "run", 1, Gone(1.0, "refused", "its order was never answered"))


def raised_only(desk: Desk) -> None:
    raise_attempt(desk.store, "run")


def elsewhere(desk: Desk) -> None:
    at_work(desk)
    order = notes.read_order(desk.store, "run", 1)
    assert order is not None
    key = layout.order_key("run", 1)
    desk.store.delete(key)
    notes.record_order(desk.store, "run", 1, replace(order, provider="vastai"))
    desk.store.delete(layout.machine_key("run", 1))
    notes.record_machine(desk.store, "run", 1, Machine("vastai", START, "i1"))


def twice(desk: Desk) -> None:
    desk.begin()
    notes.record_machine(desk.store, "run", 1, Machine("runpod", START, "i7"))


def replaced_twice(desk: Desk) -> None:
    twice(desk)
    desk.work(1)
    raise_attempt(desk.store, "run")


def on_its_way(desk: Desk) -> None:
    """Its machine is there, and nobody has written it down."""
    desk.begin()


def young(desk: Desk) -> None:
    desk.order(1)
    desk.clock.now += deadlines.UNRECORDED_FOR - 1


def never_begun(desk: Desk) -> None:
    desk.order(1)
    desk.clock.now += deadlines.UNRECORDED_FOR


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (at_work, ""),
        (on_its_way, ""),
        (young, ""),
        (interrupted, ""),  # a keeper will see to it
        (done, "run run is failed"),
        (settled, "run run is failed"),
        (replaced, "run run is at attempt 2 by now"),
        (given_up, "attempt 1 of run run was given up: its order was never answered"),
        (raised_only, "attempt 1 of run run was ordered at terminal"),
        (elsewhere, "attempt 1 of run run was ordered at vastai"),
        (twice, "attempt 1 of run run has another machine, i7"),
        (never_begun, "attempt 1 of run run never began"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_of_what_use_it_is(desk: Desk, make: Callable[[Desk], None], why: str) -> None:
    desk.cloud.make(offer(), NAME)
    make(desk)
    (stray,), problems = reaper.find(desk.store, [desk.provider], desk.clock())
    assert (stray.why, stray.run, stray.attempt, problems) == (why, "run", 1, [])
    assert stray.as_json() == {
        "provider": "runpod", "id": "i1", "name": NAME, "state": "running", "price": 0.5,
        "why": why, "foreign": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("make", "name", "why"),
    [
        (at_work, "mimir-run-a0001-o12345678", reaper.FOREIGN),  # another store's run of this name
        (done, "mimir-run-a0001-o12345678", reaper.FOREIGN),
        (at_work, "mimir-other-a0001-o12345678", reaper.FOREIGN),
        (at_work, "mimir-run-a0001", ""),  # of an older Mimir: its id is on record
        (done, "mimir-run-a0001", "run run is failed"),
        (at_work, "mimir-run-a0002", reaper.FOREIGN),
        (at_work, "mimir-other-a0001", reaper.FOREIGN),
        (elsewhere, "mimir-run-a0001", reaper.FOREIGN),
        (on_its_way, "mimir-run-a0001", reaper.FOREIGN),  # ordered here, and not known to be it
        (twice, "mimir-run-a0001", reaper.FOREIGN),  # the attempt's machine is another one
        (replaced_twice, "mimir-run-a0001", reaper.FOREIGN),
    ],
)
def test_whose_it_is(desk: Desk, make: Callable[[Desk], None], name: str, why: str) -> None:
    desk.cloud.make(offer(), name)
    make(desk)
    (stray,), problems = reaper.find(desk.store, [desk.provider], desk.clock())
    assert (stray.why, stray.foreign, problems) == (why, why == reaper.FOREIGN, [])
    if stray.foreign:
        before = desk.gone(1) if make is done and notes.read_gone(desk.store, "run", 1) else None
        assert reaper.end(desk.store, [stray], desk.clock, desk.say) == (["i1"], [])
        assert notes.read_gone(desk.store, "run", 1) == before  # it was not the attempt's


def test_a_store_that_has_ordered_nothing_has_no_machines(desk: Desk) -> None:
    desk.cloud.make(offer(), NAME)
    desk.store.delete(layout.OWNER)
    (stray,), _ = reaper.find(desk.store, [desk.provider], desk.clock())
    assert stray.foreign
    assert desk.store.read(layout.OWNER) is None  # who looks makes nothing


def test_a_run_that_the_store_does_not_know(desk: Desk) -> None:
    desk.cloud.make(offer(), named("other", 3))
    (stray,), _ = reaper.find(desk.store, [desk.provider], desk.clock())
    assert stray.why == f"there is no run other in {desk.store.url}"
    ended, problems = reaper.end(desk.store, [stray], desk.clock, desk.say)
    assert (ended, problems) == (["i1"], [])
    assert list(desk.store.list("other/")) == []


@pytest.mark.parametrize(
    "name", ["mine", "mimir", "mimir-run", "mimir-run-a1", "mimir-run-a0001-b", "Mimir-run-a0001"]
)
def test_what_is_not_ours_is_not_even_looked_at(desk: Desk, name: str) -> None:
    desk.cloud.make(offer(), name)
    assert reaper.find(desk.store, [desk.provider], desk.clock()) == ([], [])


@pytest.mark.parametrize(
    ("said", "counted"), [(60, 60), (-1e10, 0), (1e12, 9000)], ids=["then", "before it", "later"]
)
def test_what_has_shut_itself_down_is_ended_and_counts_until_then(
    desk: Desk, said: float, counted: float
) -> None:
    """Its service's clock may say anything: it counts from its order, and until now at most."""
    id = desk.cloud.make(offer(), NAME, 0.01)
    done(desk)
    desk.cloud.becomes(id, State.BROKEN)
    desk.cloud.machines[id] = replace(desk.cloud.machines[id], stopped=START + said)
    desk.clock.now = START + 9000
    (stray,), _ = reaper.find(desk.store, [desk.provider], desk.clock())
    assert (stray.why, stray.as_json()["price"]) == ("run run is failed", 0.01)
    assert reaper.end(desk.store, [stray], desk.clock, desk.say) == ([id], [])
    assert (desk.cloud.alive(), desk.gone(1).time) == ([], START + counted)


def test_what_is_gone_is_no_stray(desk: Desk) -> None:
    desk.cloud.becomes(desk.cloud.make(offer(), NAME), State.GONE)
    assert reaper.find(desk.store, [desk.provider], desk.clock()) == ([], [])


def test_one_that_cannot_be_asked_hides_no_other(desk: Desk) -> None:
    other = Paper("vastai")
    other.make(offer(), named("other", 1))
    desk.cloud.list_fails = [ProviderError("502")]
    found, problems = reaper.find(desk.store, [desk.provider, desk.rented(other)], desk.clock())
    assert [stray.provider.name for stray in found] == ["vastai"]
    assert problems == ["runpod does not list its machines: 502"]


def test_the_only_one_that_no_key_opens_ends_the_command(desk: Desk) -> None:
    other = Paper("vastai")
    desk.cloud.list_fails = [AuthFailed("no key"), AuthFailed("no key")]
    _, problems = reaper.find(desk.store, [desk.provider, desk.rented(other)], desk.clock())
    assert problems == ["runpod does not list its machines: no key"]
    with pytest.raises(AuthFailed):
        reaper.find(desk.store, [desk.provider], desk.clock())


def test_a_run_that_cannot_be_read_keeps_its_machine(desk: Desk) -> None:
    desk.cloud.make(offer(), NAME)
    desk.store.put(layout.head_key("run"), b"no HEAD")
    (stray,), problems = reaper.find(desk.store, [desk.provider], desk.clock())
    assert stray.why == ""
    assert f"{NAME} stays" in problems[0]


def test_the_end_is_written_down(desk: Desk) -> None:
    at_work(desk)
    desk.cloud.make(offer(), NAME)
    desk.left = ["run 1"]
    raise_attempt(desk.store, "run")
    strays, _ = reaper.find(desk.store, [desk.provider], desk.clock())
    assert reaper.end(desk.store, strays, desk.clock, desk.say) == (["i1"], [])
    assert (desk.cloud.alive(), desk.left) == ([], [])
    assert desk.gone(1) == Gone(
        desk.clock(), "over", "ended by reap: run run is at attempt 2 by now"
    )


def test_anothers_end_is_not_the_attempts(desk: Desk) -> None:
    twice(desk)
    desk.cloud.make(offer(), NAME)
    desk.left = ["run 1"]  # of the machine that stays
    strays, _ = reaper.find(desk.store, [desk.provider], desk.clock())
    assert reaper.end(desk.store, strays, desk.clock, desk.say) == (["i1"], [])
    assert desk.left == ["run 1"]
    assert notes.read_gone(desk.store, "run", 1) is None


@pytest.mark.parametrize(("name", "its"), [(NAME, True), ("mimir-run-a0001", False)])
def test_one_named_by_its_id_is_an_unanswered_orders_by_the_stores_id(
    desk: Desk, name: str, its: bool
) -> None:
    on_its_way(desk)
    desk.cloud.make(offer(), name)
    stray = reaper.by_id(desk.provider, "i1")
    assert reaper.end(desk.store, [stray], desk.clock, desk.say) == (["i1"], [])
    assert (notes.read_gone(desk.store, "run", 1) is not None) == its


def test_one_that_does_not_end_keeps_no_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    stubborn = Paper("vastai")
    stubborn.immortal = True
    for cloud in (stubborn, desk.cloud):
        cloud.make(offer(), named("other", 1))
    places = [desk.rented(stubborn), desk.provider]
    strays, _ = reaper.find(desk.store, places, desk.clock())

    def fails(*args: object) -> bool:
        raise StoreError("the store is away")

    monkeypatch.setattr(notes, "read_order", fails)
    ended, problems = reaper.end(desk.store, strays, desk.clock, desk.say)
    assert ended == ["i1"]
    assert "vastai i1" in problems[0]
    assert "could not be written: the store is away" in problems[1]
    assert desk.said == problems[:1]


def test_a_strays_price_may_be_unknown(desk: Desk) -> None:
    desk.cloud.machines["i1"] = replace(
        Instance("i1", named("other", 1), State.BROKEN), said="what?"
    )
    (stray,), _ = reaper.find(desk.store, [desk.provider], desk.clock())
    assert (stray.as_json()["price"], stray.as_json()["state"]) == (None, "broken")
