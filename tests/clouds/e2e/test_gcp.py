"""Google: machines that the service deletes, at their deadline and by a preemption."""

import json
import random
from collections.abc import Callable

import pytest

from mimir.runs import notes
from tests.clouds.e2e.test_aws import SOON
from tests.clouds.e2e.test_laptop_gone import BRIEF, SECONDS
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
from tests.clouds.fake_gcp import FakeGcp
from tests.clouds.service import Rental

__all__ = ["alone"]


@pytest.fixture
def gcp(make: Callable[[str], World]) -> World:
    return make("gcp")


def fake(world: World) -> FakeGcp:
    assert isinstance(world.fake, FakeGcp)
    return world.fake


@pytest.mark.long
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
    world.until(lambda: not world.fake.alive())
    (rental,) = world.fake.ledger
    assert rental.shown["deleted"] == "maxRunDuration"
    assert not any(e.method == "DELETE" for e in world.fake.requests)
