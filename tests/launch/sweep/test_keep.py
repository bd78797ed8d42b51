"""What a launcher begins of a sweep, round after round, on paper."""

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from launch.contract.errors import (
    AuthFailed,
    BalanceEmpty,
    Misconfigured,
    NoCapacity,
    ProviderError,
    RateLimited,
    UnknownOutcome,
)
from launch.contract.provider import AttemptSpec, Machine
from launch.provision import together
from launch.provision.choice import Choice
from launch.provision.order import order
from launch.sweep import end
from launch.sweep.keep import ASK_AGAIN, Keeper, Round, look
from mimir.errors import BadInput, Fenced
from mimir.runs import layout, notes, sweep_state
from mimir.runs.order import Shared
from tests.launch.conftest import Fake
from tests.launch.sweep.conftest import Stage
from tests.runs.actors import Killed
from tests.runs.mortal import Mortal

Made = Callable[..., Stage]


def test_so_many_at_a_time_until_all_are_done(stage: Made) -> None:
    it = stage()
    it.create()
    keeper = it.start(at_once=2)
    seen = keeper.round()
    assert (seen.alive, seen.waiting) == (("lr-000", "lr-001"), ("lr-002",))
    assert keeper.round() == seen, "it waits"
    it.work("lr-001", "done")
    seen = keeper.round()
    assert (seen.alive, seen.waiting) == (("lr-000", "lr-002"), ())
    assert it.ordered() == ["lr-000", "lr-001", "lr-002"]
    assert not seen.over
    it.work("lr-000", "done")
    it.work("lr-002", "done")
    assert keeper.round().over
    assert all(it.status(each.run).state == "done" for each in it.sweep.members)
    assert len(it.fake.ended) == 3, "each machine is seen to be gone"


def test_a_run_that_failed_gives_its_place_and_comes_again_by_resume(stage: Made) -> None:
    it = stage()
    it.create()
    keeper = it.start()
    keeper.round()
    it.work("lr-000", "failed")
    seen = keeper.round()
    assert (seen.alive, seen.waiting) == (("lr-001",), ("lr-002",))
    it.work("lr-001", "stopped")
    keeper.round()
    it.work("lr-002", "done")
    assert keeper.round().over
    again = it.start(at_once=3, again=True)
    assert again.round().alive == ("lr-000", "lr-001")
    assert it.status("lr-000").attempt == 2
    it.work("lr-000", "failed")
    it.work("lr-001", "done")
    assert again.round().over, "once each"
    assert it.ordered() == ["lr-000", "lr-001", "lr-002", "lr-000", "lr-001"]


def test_where_jobs_queue_all_are_begun_in_lanes(
    stage: Made, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody stays to begin the next ones; each waits for the newest job of its lane."""
    fake.caps = replace(fake.caps, paid=False, queues=True)
    numbers = itertools.count(9)  # by their letters, 10 comes before 9

    def start(spec: AttemptSpec) -> Machine:
        fake.orders.append(spec)
        name = f"mimir-{spec.run}-a{spec.attempt:04d}"
        return Machine("fake", 1.0, str(next(numbers)), name, details={"queues": True})

    monkeypatch.setattr(fake, "start", start)
    it = stage(runs=5)
    it.create()
    assert not it.start(at_once=2).round().waiting
    behind = {spec.run[-1]: spec.behind[6:12] for spec in fake.orders}
    assert behind == {"0": "", "1": "", "2": "lr-000", "3": "lr-001", "4": "lr-002"}
    it.work("lr-000", "done")
    it.work("lr-002", "failed")
    fake.orders.clear()
    it.start(at_once=2, again=True).round()
    assert [(spec.run, spec.behind[6:12]) for spec in fake.orders] == [("lr-002", "lr-004")]
    fake.orders.clear()
    it = stage()
    it.create()
    it.start(at_once=3).round()
    assert [spec.behind for spec in fake.orders] == ["", "", ""], "all at once"


class Jobs:
    """Lets the fake provider queue jobs that several runs may share."""

    def __init__(self, fake: Fake, patch: pytest.MonkeyPatch) -> None:
        fake.caps = replace(fake.caps, paid=False, queues=True, shares=True)
        self.orders, self.numbers = fake.orders, itertools.count(9)
        self.error: Exception | None = None
        patch.setattr(fake, "start", self.start)

    def start(self, spec: AttemptSpec) -> Machine:
        if self.error:
            raise self.error
        self.orders.append(spec)
        name = spec.job or f"{spec.run}-a{spec.attempt:04d}"
        return Machine("fake", 1.0, str(next(self.numbers)), name, details={"queues": True})

    def together(self) -> list[list[str]]:
        return [[spec.run, *(run for run, _, _ in spec.beside)] for spec in self.orders]


def test_neighbours_share_a_job(stage: Made, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is an ordinary run: its order tells the job, its machine is its own record of it."""
    jobs = Jobs(fake, monkeypatch)
    it = stage(runs=5)
    it.create()
    assert not it.start(at_once=5, per_job=2).round().waiting
    pairs = [["lr-000", "lr-001"], ["lr-002", "lr-003"], ["lr-004"]]
    assert jobs.together() == pairs
    assert [bool(spec.job) for spec in fake.orders] == [True, True, False]
    assert [spec.behind for spec in fake.orders] == [""] * 3, "all at once"
    assert [spec.beside[0][1] for spec in fake.orders[:2]] == [1, 1]
    for runs, spec in zip(pairs, fake.orders, strict=True):
        for run in runs:
            newest = it.status(run).attempts[-1]
            assert newest.machine is not None
            assert newest.order is not None
            assert newest.machine.part_of == (run if spec.job else "")
            assert newest.order.shared == (Shared(spec.job, tuple(runs)) if spec.job else None)
    it.work("lr-002", "failed")
    it.work("lr-003", "done")
    fake.orders.clear()
    it.start(at_once=5, per_job=2, again=True).round()
    assert jobs.together() == [["lr-002"]], "with nobody beside it, it has a job of its own"
    assert not fake.orders[0].job


def test_lanes_of_shared_jobs(stage: Made, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs(fake, monkeypatch)
    it = stage(runs=10)
    it.create()
    it.start(at_once=5, per_job=2).round()
    names = [spec.job for spec in fake.orders]
    assert [spec.behind for spec in fake.orders] == ["", "", *names[:3]]
    assert len(jobs.together()) == 5


def test_one_that_cannot_begin_leaves_the_job_to_its_neighbours(
    stage: Made, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else begins it, or it cannot be read; and with no job for any, all wait."""
    jobs = Jobs(fake, monkeypatch)
    it = stage(runs=3)
    it.create()
    real = together.raise_attempt

    def meanwhile(store: Any, run: str, *rest: Any, **more: Any) -> int:
        if run == "lr-000":
            order(store, run, [Choice(fake)], it.plan, it.said.append)  # type: ignore[arg-type]
        return real(store, run, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(together, "raise_attempt", meanwhile)
        seen = it.start(at_once=3, per_job=3).round()
    assert jobs.together() == [["lr-000"], ["lr-001", "lr-002"]]
    assert len(seen.alive) == 3
    fake.orders.clear()
    it = stage(runs=3)
    it.create()
    jobs.error = UnknownOutcome("its answer was lost")
    seen = it.start(at_once=3, per_job=3).round()
    assert seen.alive == ("lr-000", "lr-001", "lr-002"), "there may be a job"
    assert {it.status(run).attempts[-1].gone for run in seen.alive} == {None}
    for error, kind in ((ProviderError("full"), "waiting"), (BadInput("wrong"), "refused")):
        it = stage(runs=3)
        it.create()
        jobs.error = error
        seen = it.start(at_once=3, per_job=3).round()
        assert len(getattr(seen, kind)) == 3
        gone = [it.status(f"lr-00{n}").attempts[-1].gone for n in range(3)]
        assert [each.kind for each in gone if each] == ["refused"] * 3


def test_killed_at_any_moment_of_a_shared_beginning(
    stage: Made, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No run is ordered twice for one attempt, and none is begun by two jobs."""
    Jobs(fake, monkeypatch)

    def submit(it: Stage, store: Any) -> None:
        it.start(at_once=3, store=store, per_job=3).round()

    whole = stage()
    whole.create()
    counted = Mortal(whole.store)
    submit(whole, counted)
    drawn = random.Random(3).sample(range(counted.moments), 12)
    for moment in sorted({*drawn, counted.moments - 1}):
        it = stage()
        it.create()
        with pytest.raises(Killed):
            submit(it, Mortal(it.store, moment))
        submit(it, it.store)
        began = [(spec.run, spec.attempt) for spec in fake.orders]
        began += [(run, number) for spec in fake.orders for run, number, _ in spec.beside]
        assert len(began) == len(set(began)), f"{moment}: twice"


def test_killed_at_any_moment_of_its_beginning(stage: Made) -> None:
    """Submitting again ends with one machine for each run, whenever it was cut off before."""

    def submit(it: Stage, store: Any) -> None:
        it.create(store)
        it.start(at_once=3, store=store).round()

    whole = stage()
    counted = Mortal(whole.store)
    submit(whole, counted)
    assert counted.moments > 100
    assert whole.ordered() == ["lr-000", "lr-001", "lr-002"]
    drawn = random.Random(5).sample(range(counted.moments), 30)
    for moment in sorted({*drawn, counted.moments - 1}):
        it = stage()
        with pytest.raises(Killed):
            submit(it, Mortal(it.store, moment))
        it.create()
        keeper = it.start(at_once=3)
        for _ in range(4):
            keeper.round()
            # An order without an answer is looked for until its service would have listed it.
            it.clock.now += 300
        attempts = {each.run: it.status(each.run).attempt for each in it.sweep.members}
        assert all(1 <= number <= 2 for number in attempts.values()), f"{moment}: {attempts}"
        assert len(set(map(str, it.fake.orders))) == len(it.fake.orders), f"{moment}: twice"
        for run, number in attempts.items():
            machine = notes.read_machine(it.store, run, number)
            assert machine is not None, f"moment {moment}: {run} has no machine"
        runs = [name for name in it.store.folders() if layout.is_run(name)]
        assert runs == list(attempts)


def test_a_stop_holds_for_launchers_elsewhere(stage: Made) -> None:
    it = stage()
    it.create()
    keeper = it.start()
    keeper.round()
    it.work("lr-000")
    asked, failed = end.stop(it.store, it.sweep, it.said.append)
    assert (asked, failed) == ([("lr-000", 1)], [])
    seen = keeper.round()
    assert seen == Round(why="sweep lr was stopped")
    assert seen.over
    assert it.ordered() == ["lr-000"]


def test_a_stop_while_a_run_is_ordered_stops_that_run(stage: Made) -> None:
    it = stage()
    it.create()
    keeper = it.start(at_once=2)
    asked: list[tuple[str, int]] = []

    def stop(spec: Any) -> None:
        asked.extend(end.stop(it.store, it.sweep, it.said.append)[0])

    it.fake.at_start = stop
    keeper.round()
    assert asked == [("lr-000", 1)]
    assert it.ordered() == ["lr-000"]
    assert notes.stop_requested(it.store, "lr-000", 1) is not None
    assert keeper.round().why


@pytest.mark.parametrize("act", ["stop", "remove", "take over"])
def test_what_is_said_before_the_order_orders_nothing(
    stage: Made, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While machines are looked for, nobody can see yet that a run is about to be begun."""
    it = stage()
    it.create()
    keeper = it.start(at_once=2)
    newer: list[Keeper] = []

    def meanwhile(*_: Any) -> tuple[None]:
        if act == "stop":
            assert end.stop(it.store, it.sweep, it.said.append) == ([], [])
        elif act == "remove":
            end.remove(it.store, "lr", it.said.append, lambda name: it.fake)
        elif not newer:
            newer.append(it.start(at_once=2, again=True, max_cost=3.0))
        return (None,)

    monkeypatch.setattr(it.fake, "choices", meanwhile)
    assert keeper.round().why or act == "remove"
    assert it.ordered() == []
    assert keeper.round().why
    if act != "remove":
        assert it.status("lr-000").state == "stopped"
    if newer:
        assert newer[0].round().alive == ("lr-000", "lr-001")
        plans = [notes.read_order(it.store, "lr-000", attempt) for attempt in (1, 2)]
        assert [plan.plan.limits.max_cost for plan in plans if plan] == [0.0, 1.0]


def test_a_run_of_a_sweep_that_is_being_removed_gets_no_machine(stage: Made) -> None:
    """Nor by hand or from a watcher, who have no number of their own."""
    it = stage()
    it.create()
    sweep_state.say(it.store, "lr", sweep_state.REMOVED)
    with pytest.raises(Fenced, match="removed"):
        order(it.store, "lr-000", [Choice(it.fake)], it.plan, it.said.append)
    assert it.ordered() == []
    assert it.status("lr-000").state == "stopped", "so that the removal can go on"


def test_a_newer_launcher_takes_the_sweep_over(stage: Made) -> None:
    it = stage()
    it.create()
    first = it.start()
    first.round()
    second = it.start(at_once=2)
    assert first.round().why == "sweep lr was taken up by another launcher"
    assert second.round().alive == ("lr-000", "lr-001")


def test_stop_and_resume_at_the_same_time(stage: Made) -> None:
    """Whichever comes last counts, nothing is begun twice, and a stopped sweep begins nothing."""
    for seed in range(25):
        it, rng = stage(), random.Random(seed)
        it.create()
        keepers: list[Keeper] = [it.start(at_once=2)]
        for _ in range(12):
            act = rng.choice(("stop", "resume", "round", "round", "done"))
            if act == "stop":
                end.stop(it.store, it.sweep, it.said.append)
            elif act == "resume":
                keepers.append(it.start(at_once=2, again=True))
            elif act == "round":
                before = len(it.fake.orders)
                word = sweep_state.read(it.store, "lr").word
                seen = rng.choice(keepers).round()
                assert word == "go" or len(it.fake.orders) == before, f"seed {seed}"
                assert len(seen.alive) <= 2, f"seed {seed}"
            else:
                live = [
                    each.run for each in look(it.store, it.sweep)
                    if each.status and each.status.attempt and each.status.state == "queued"
                ]  # fmt: skip
                if live:
                    it.work(rng.choice(live), rng.choice(("done", "stopped")))
        keepers.append(it.start(at_once=3, again=True))
        for _ in range(6):
            keepers[-1].round()
            for each in look(it.store, it.sweep):
                if each.status and each.status.attempt and each.status.state == "queued":
                    it.work(each.run, "done")
        assert keepers[-1].round().over
        states = [it.status(each.run).state for each in it.sweep.members]
        assert states == ["done"] * 3, f"seed {seed}: {states}"
        orders = [(spec.run, spec.attempt) for spec in it.fake.orders]
        assert len(set(orders)) == len(orders)


@pytest.mark.parametrize(
    "error",
    [NoCapacity("all rented"), RateLimited("too often", 2.0), ProviderError("error 500")],
    ids=lambda error: type(error).__name__,
)
def test_no_machine_now_is_asked_for_again_later(stage: Made, error: ProviderError) -> None:
    it = stage()
    it.create()
    keeper = it.start(at_once=3)
    it.fake.fails = error
    seen = keeper.round()
    assert len(it.fake.orders) == 1, "the others would get none either"
    it.fake.fails = None
    keeper.round()
    assert len(it.fake.orders) == 1, "not at once"
    it.clock.now += 2 * ASK_AGAIN
    seen = keeper.round()
    assert set(seen.alive) == {"lr-000", "lr-001", "lr-002"}


def test_an_answer_that_is_lost_is_the_watchers(stage: Made) -> None:
    it = stage()
    it.create()
    it.fake.fails = UnknownOutcome("timeout")
    keeper = it.start()
    assert keeper.round().alive == ("lr-000",)
    it.fake.fails = None
    assert keeper.round().alive == ("lr-000",)
    assert it.ordered() == ["lr-000"]


@pytest.mark.parametrize("kind", [AuthFailed, BalanceEmpty, Misconfigured])
def test_what_concerns_all_runs_ends_the_command_and_the_run(
    stage: Made, kind: type[ProviderError]
) -> None:
    it = stage()
    it.create()
    it.fake.fails = kind("a person must act")
    with pytest.raises(kind):
        it.start(at_once=3).round()
    assert it.ordered() == ["lr-000"]
    assert it.status("lr-000").state == "failed"
    it.fake.fails = None
    assert len(it.start(at_once=3, again=True).round().alive) == 3


def test_what_concerns_one_run_leaves_the_others(stage: Made) -> None:
    it = stage()
    it.create()
    it.store.put("lr-001/run.json", b"{")

    def fails(spec: Any) -> None:
        it.fake.fails = BadInput("no room") if spec.run == "lr-000" else None

    it.fake.at_start = fails
    seen = it.start(at_once=3).round()
    assert seen.alive == ("lr-002",)
    assert dict(seen.refused)["lr-000"] == "no room"
    assert "run.json" in dict(seen.refused)["lr-001"]


def test_the_runs_share_the_limit(stage: Made) -> None:
    it = stage()
    it.create()
    keeper = it.start(at_once=2, max_cost=6.0)
    keeper.round()
    order = notes.read_order(it.store, "lr-000", 1)
    assert order is not None
    assert order.plan.limits.max_cost == 2.0
    it.work("lr-000", "done")  # at no cost
    keeper.round()
    order = notes.read_order(it.store, "lr-002", 1)
    assert order is not None
    assert order.plan.limits.max_cost == 3.0
