"""Google: machines that the service deletes, at their deadline and by a preemption, and that shut
themselves down after their work."""

import json
import random
from collections.abc import Callable

import pytest

from launch.contract import deadlines
from mimir.runs import notes
from tests.clouds.e2e.test_aws import SOON, evicted_often
from tests.clouds.e2e.test_laptop_gone import BRIEF, SECONDS, at_the_deadline, order, over_for_good
from tests.clouds.e2e.test_whole_runs import (
    SEED,
    SHORT,
    again,
    alone,
    real,
    submission,
    whole,
)
from tests.clouds.e2e.world import World
from tests.clouds.fake_gcp import DISK, FakeGcp
from tests.clouds.service import Rental

__all__ = ["alone"]


@pytest.fixture
def gcp(make: Callable[[str], World]) -> World:
    return make("gcp")


def fake(world: World) -> FakeGcp:
    assert isinstance(world.fake, FakeGcp)
    return world.fake


def test_a_whole_run_over_two_evictions(gcp: World, alone: Callable[[int], str]) -> None:
    """One without notice, and one with: there the worker commits before the machine goes."""
    world = real(gcp)
    weights = alone(SHORT)
    command = world.spawn(*submission(world, SHORT, "--spot"))
    ways = iter((lambda rental: fake(world).preempt(rental.id), lambda rental: noticed(rental)))

    def noticed(rental: Rental) -> None:
        fake(world).notice(rental.id)
        world.until(lambda: notes.read_outcome(world.store, "r", 2))
        fake(world).preempt(rental.id)

    again(world, lambda rental: next(ways)(rental), 2, random.Random(SEED))
    assert command.wait() == 0, command.said
    whole(world, weights)
    first, second, third = world.status("r").attempts
    assert first.gone is not None
    assert (first.gone.kind, "preempted by Google" in first.gone.why) == ("eviction", True)
    assert "Google takes the machine away" in second.end
    assert third.from_step is not None
    outcome = notes.read_outcome(world.store, "r", 2)
    assert outcome is not None
    assert outcome.step == third.from_step, "nothing was lost"


def test_with_the_laptop_off_google_deletes_it(gcp: World) -> None:
    """Also a machine on which no container ever starts."""
    world = gcp
    fake(world).fault("stuck")
    patches = json.dumps({**BRIEF, **SOON})
    hung = world.spawn(*world.submission("r", "--max-hours", str(SECONDS / 3600)), patches=patches)
    world.until(lambda: world.fake.ledger)
    hung.kill()
    deleted_by_google(world)


def deleted_by_google(world: World) -> None:
    """Once its longest run is over, and by nobody else."""
    world.fake.clock.advance(deadlines.WATCH_OVERTIME)
    assert not world.fake.alive()
    (rental,) = world.fake.ledger
    assert rental.shown["deleted"] == "maxRunDuration"
    assert not any(e.method == "DELETE" for e in world.fake.requests)


def test_a_run_that_is_done_while_nobody_watches(gcp: World, alone: Callable[[int], str]) -> None:
    """Long before its deadline: the machine shuts itself down, and `watch` deletes what is left."""
    world = real(gcp)
    weights = alone(SHORT)
    submit = world.spawn(*submission(world, SHORT, watched=()))
    world.until(lambda: notes.read_machine(world.store, "r", 1))
    submit.kill()
    assert "shuts itself down if its run ends while no computer of yours watches" in submit.said
    rental = world.until(
        lambda: next((e for e in world.fake.alive() if e.shown["status"] == "TERMINATED"), None)
    )
    vm = fake(world).vms[rental.id]
    assert (vm.working, rental.spans[-1][1:]) == (False, [None, DISK]), "no GPU is paid"
    assert "the container ended with 0" in " ".join(vm.said())
    world.fake.clock.advance(7 * 86400.0)
    assert [each.id for each in world.fake.alive()] == [rental.id], "Google forgot its deadline"
    reap = f"python -m launch reap --provider gcp --machine {rental.id}"
    assert reap in world.launch("doctor", "--leftovers")
    assert rental.id in world.launch("runs")
    assert not any(e.method == "DELETE" for e in world.fake.requests)
    world.launch("watch", "r", "--once")
    assert not world.fake.alive(), "nor its disk"
    whole(world, weights)
    (attempt,) = world.status("r").attempts
    assert attempt.gone is not None
    assert (attempt.gone.kind, attempt.gone.time) == ("over", rental.shown["stopped"])
    assert len(world.fake.ledger) == 1


def test_a_run_at_its_deadline_while_nobody_watches(gcp: World) -> None:
    """It has committed, and Google deletes its machine within the hour: it must not shut down."""
    world = gcp
    usual = {"launch.contract.deadlines:SHELL_OVERTIME": deadlines.SHELL_OVERTIME}
    order(world, **usual)
    at_the_deadline(world)
    (rental,) = world.fake.alive()
    vm = fake(world).vms[rental.id]
    world.until(lambda: "the machine stays on: its service deletes it in" in " ".join(vm.said()))
    assert (vm.turned_off, rental.shown["status"]) == (False, "RUNNING")
    deleted_by_google(world)
    over_for_good(world)


@pytest.mark.long
def test_evicted_every_twenty_steps(gcp: World, alone: Callable[[int], str]) -> None:
    evicted_often(gcp, alone, lambda rental: fake(gcp).preempt(rental.id))
