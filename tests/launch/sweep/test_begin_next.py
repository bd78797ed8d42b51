"""A watcher begins a sweep's next runs, as its command does and never beside it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from launch.contract.errors import AuthFailed, BalanceEmpty, Misconfigured
from launch.supervise.rounds import rounds
from launch.supervise.settled import Settled
from launch.sweep import end
from launch.sweep.begin_next import BeginNext
from mimir.errors import BadInput, MimirError
from mimir.runs import notes, sweep_state
from mimir.runs.head import ENDED
from tests.launch.sweep.conftest import Stage

Made = Callable[..., Stage]


@pytest.fixture(autouse=True)
def a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """To whose machines no keys are given."""
    monkeypatch.setattr("launch.provision.kept_plan.cut_down", lambda url: "always")


def watching(it: Stage) -> BeginNext:
    return BeginNext(it.store, it.said.append, it.watcher(it.store), it.clock)


def test_it_goes_on_under_the_terms_of_the_start(stage: Made) -> None:
    it = stage()
    it.create()
    assert watching(it).round() == ([], []), "nobody has begun it"
    it.start(at_once=2, max_cost=3.0)  # its command ends before its first round
    watch = watching(it)
    assert watch.round() == (["lr"], [])
    assert watch.round() == (["lr"], []), "two at once"
    assert it.ordered() == ["lr-000", "lr-001"]
    order = notes.read_order(it.store, "lr-000", 1)
    assert order is not None
    assert order.plan.limits.max_cost == 1.0, "its share"
    it.work("lr-001", "done")
    assert watching(it).round() == ([], []), "another watcher, after the last one"
    assert it.ordered() == ["lr-000", "lr-001", "lr-002"]
    it.work("lr-000", "failed")
    assert watching(it).round() == ([], [])
    assert len(it.fake.orders) == 3, "what failed is left to a person"


def test_beside_the_command_none_is_begun_twice(stage: Made) -> None:
    it = stage(runs=6)
    it.create()
    command = it.start(at_once=2)
    both = [command.round, watching(it).round]
    for run in range(6):
        for act in (both, both[::-1])[run % 2]:
            act()
        ended = [n for n in range(6) if it.status(f"lr-{n:03d}").state == "done"]
        assert len(it.fake.orders) - len(ended) <= 2
        it.work(f"lr-{run:03d}", "done")
    assert it.ordered() == [f"lr-{n:03d}" for n in range(6)]
    assert command.round().why == "", "it is still the sweep's command"


@pytest.mark.parametrize("act", ["stop", "local", "static keys", "older start"])
def test_what_is_left_to_a_person(stage: Made, act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    it = stage()
    it.create()
    it.start()
    if act == "stop":
        end.stop(it.store, it.sweep, it.said.append)
    elif act == "local":
        it.fake.caps = replace(it.fake.caps, paid=False)
    elif act == "static keys":
        monkeypatch.setattr("launch.provision.kept_plan.cut_down", lambda url: "never")
    else:
        sweep_state.say(it.store, "lr", sweep_state.GO)  # by whom no terms are known
    assert watching(it).round() == ([], [])
    assert not it.fake.orders


def test_one_that_needs_a_person_keeps_no_other_from_being_looked_at(stage: Made) -> None:
    it = stage()
    it.create()
    it.start()
    it.fake.fails = AuthFailed("the key is wrong")
    assert watching(it).round() == ([], ["lr"])
    assert "the key is wrong" in it.said[-1]


@pytest.mark.parametrize("kind", [AuthFailed, BalanceEmpty, Misconfigured, BadInput])
def test_what_only_a_person_mends_ends_no_run(stage: Made, kind: type[MimirError]) -> None:
    """However many rounds it lasts, no run fails by it and none takes another one's place."""
    it = stage()
    it.create()
    it.start()
    it.fake.fails = kind("a person must act")
    watch, watcher = watching(it), it.watcher(it.store)
    settled = Settled(it.store, watcher.concerned)

    def watch_round() -> None:
        rounds(watcher, settled.others, it.said.append)
        watch.round()
        it.clock.now += 30

    for _ in range(12):
        watch_round()
    assert set(it.ordered()) == {"lr-000"}
    assert 2 <= len(it.ordered()) <= 5, "it is asked again, after pauses"
    assert it.status("lr-000").state not in ENDED
    assert [line for line in it.said if "a person must act" in line]
    it.fake.fails = None
    for _ in range(40):
        watch_round()
        for run in dict.fromkeys(it.ordered()):
            status = it.status(run)
            if status.state != "done" and status.attempts[-1].machine:
                it.work(run, "done")
    assert [it.status(f"lr-{n:03d}").state for n in range(it.runs)] == ["done"] * it.runs
    assert list(dict.fromkeys(it.ordered())) == ["lr-000", "lr-001", "lr-002"]
