"""AWS: machines that end themselves by shutting down, and that the service takes away."""

import json
import random
from collections.abc import Callable

import pytest

from mimir.runs import notes, parts
from tests.clouds.e2e.test_laptop_gone import BRIEF, SECONDS
from tests.clouds.e2e.test_whole_runs import (
    LONG,
    SEED,
    SHORT,
    again,
    alone,
    real,
    submission,
    whole,
)
from tests.clouds.e2e.world import World
from tests.clouds.fake_aws import FakeAws
from tests.clouds.service import Rental

__all__ = ["alone"]


@pytest.fixture
def aws(make: Callable[[str], World]) -> World:
    return make("aws")


def fake(world: World) -> FakeAws:
    assert isinstance(world.fake, FakeAws)
    return world.fake


def logged(world: World, attempt: int) -> str:
    return "".join(text for _, text in parts.read_all(world.store, "r", attempt, "log"))


def test_a_whole_run_over_two_evictions(aws: World, alone: Callable[[int], str]) -> None:
    """One without notice. The other is told to be at risk first, where training goes on; at its
    notice, the worker commits and ends its machine."""
    world = real(aws)
    weights = alone(SHORT)
    command = world.spawn(*submission(world, SHORT, "--spot"))

    def noticed(rental: Rental) -> None:
        fake(world).notice(rental.id, kind="rebalance")
        world.until(lambda: "a checkpoint is asked for" in logged(world, 2))
        fake(world).notice(rental.id)
        world.until(lambda: notes.read_outcome(world.store, "r", 2))

    ways = iter((lambda rental: fake(world).evict(rental.id), noticed))
    again(world, lambda rental: next(ways)(rental), 2, random.Random(SEED))
    assert command.wait() == 0, command.said
    whole(world, weights)
    assert [each.spot for each in world.fake.ledger] == [True] * 3
    first, second, third = world.status("r").attempts
    assert first.gone is not None
    assert first.gone.kind == "eviction"
    assert "Server.SpotInstanceTermination" in first.gone.why
    outcome = notes.read_outcome(world.store, "r", 2)
    assert outcome is not None
    assert (outcome.cause, outcome.step) == ("signal", third.from_step), "nothing was lost"
    assert "AWS takes the machine away" in outcome.reason
    assert second.gone is not None
    assert second.gone.kind == "eviction"


SOON = {
    "launch.contract.deadlines:SHELL_OVERTIME": 2.0, "launch.contract.deadlines:CONTAINER_GRACE": 2,
    "launch.contract.deadlines:SELF_TERMINATE_WITHIN": 2.0,
}  # fmt: skip
"""The timer's, behind the deadline."""


def test_with_the_laptop_off_it_ends_at_its_deadline(aws: World) -> None:
    """By its worker, where that works; by the timer, where the container never starts."""
    world = aws
    world.steps, world.pace = 100_000, 0.3
    hours = ("--max-hours", str(SECONDS / 3600))
    fake(world).fault("no_gpu")
    hung = world.spawn(*world.submission("hung", *hours), patches=json.dumps({**BRIEF, **SOON}))
    world.until(lambda: world.fake.ledger)
    hung.kill()
    # Of the other one the timer would be later than any worker, however slowly it begins.
    late = {**BRIEF, "launch.contract.deadlines:SHELL_OVERTIME": 250.0}
    submit = world.spawn(*world.submission("r", *hours), patches=json.dumps(late))
    world.until(lambda: notes.read_machine(world.store, "r", 1))
    submit.kill()
    assert "ends its work and itself" in submit.said
    world.until(lambda: len(world.fake.ledger) == 2 and not world.fake.alive())
    outcome = notes.read_outcome(world.store, "r", 1)
    assert outcome is not None
    assert outcome.cause == "deadline"
    reasons = [rental.shown["reason"] for rental in world.fake.ledger]
    assert reasons == ["Client.InstanceInitiatedShutdown"] * 2
    assert not any(e.path.endswith("/TerminateInstances") for e in world.fake.requests)


@pytest.mark.long
def test_evicted_every_twenty_steps(aws: World, alone: Callable[[int], str]) -> None:
    evicted_often(aws, alone, lambda rental: fake(aws).evict(rental.id))


def evicted_often(
    world: World, alone: Callable[[int], str], evict: Callable[[Rental], object]
) -> None:
    """A whole run whose machines are taken away every twenty steps, without notice."""
    world = real(world)
    weights = alone(LONG // 2)
    command = world.spawn(*submission(world, LONG // 2, "--spot"))
    times = 0
    while command.code is None:
        at = world.step("r")
        world.gate.open(at + 25)
        world.until(lambda at=at: command.ended() or world.step("r") >= at + 20)
        rental = world.machine("r")
        if rental is None or command.ended():
            continue
        evict(rental)
        times += 1
    assert command.code == 0, command.said
    assert times > 2
    whole(world, weights)
