"""With no launcher anywhere, a machine holds to its deadline, and ends itself where it can."""

import json
import time
from collections.abc import Callable

import pytest

from mimir.runs import notes
from tests.clouds.e2e.world import World

BRIEF = {
    "launch.choosing:RESERVE": 0.0003, "launch.choosing:SHORTEST": 0.0,
    "launch.forecast:START": 0.0, "launch.forecast:forecast(start_s)": 0.0,
    "launch.boot:of(overtime)": 2.0, "launch.boot:KILL_AFTER": 1,
    "launch.diagnosis:SILENT_FOR": 600.0,
}  # fmt: skip
"""A machine that starts at once, so that its hours may be seconds."""
SECONDS = 12.0


def order(world: World) -> None:
    """Submit a run that would take an hour, with some seconds of machines; the launcher is gone."""
    world.steps, world.pace = 100_000, 0.05
    world.env["PATCHES"] = json.dumps(BRIEF)
    world.launch(*world.submission("r", "--max-hours", str(SECONDS / 3600)))
    assert len(world.fake.alive()) == 1


def asked(world: World) -> list[str]:
    """Requests that would end a machine."""
    return [e.path for e in world.fake.requests if e.method in ("DELETE", "POST", "PUT")][1:]


def at_the_deadline(world: World) -> None:
    """The attempt committed what it had done, and said why it ended."""
    outcome = world.until(lambda: notes.read_outcome(world.store, "r", 1), SECONDS + 20)
    machine = notes.read_machine(world.store, "r", 1)
    assert machine is not None
    assert outcome.cause == "deadline"
    assert outcome.time >= machine["deadline"]
    heartbeat = notes.read_heartbeat(world.store, "r", 1)
    assert heartbeat is not None
    assert outcome.step == heartbeat.step == world.step("r") > 0


def over_for_good(world: World) -> None:
    """A watcher, at last: it ends what is left, and begins nothing beyond the limit."""
    time.sleep(max(0.0, world.fake.ledger[0].born + SECONDS - time.time()))
    said = world.launch("watch", "r", "--once")
    assert "h of machines are used up" in said
    assert world.status("r").state == "stopped"
    world.settled(1.0)
    assert len(world.fake.ledger) == 1


@pytest.mark.parametrize("provider", ["runpod", "vastai"])
def test_the_machine_ends_itself(provider: str, make: Callable[[str], World]) -> None:
    world = make(provider)
    order(world)
    before = len(world.fake.requests)
    at_the_deadline(world)
    world.until(lambda: not world.fake.alive(), 15)
    ended = world.fake.requests[before:]
    (only,) = [e for e in ended if e.method != "GET"]
    assert only.method == {"runpod": "POST", "vastai": "DELETE"}[provider]
    assert notes.read_unended(world.store, "r", 1) is None
    over_for_good(world)


@pytest.mark.parametrize("provider", ["runpod", "vastai"])
def test_its_key_is_refused(provider: str, make: Callable[[str], World]) -> None:
    world = make(provider)
    order(world)
    if provider == "runpod":
        world.fake.fault("scoped_refused", times=1000)
    else:
        world.fake.fault("html_403", times=1000, method="DELETE")
    at_the_deadline(world)
    unended = world.until(lambda: notes.read_unended(world.store, "r", 1), 20)
    assert "403" in unended.reason
    (rental,) = world.fake.alive()
    assert world.fake.machines[rental.id].working, "the container that waits to be ended"
    at = world.step("r")
    assert "could not end itself" in world.launch("status", "r")
    assert world.step("r") == at
    world.fake._armed.clear()
    over_for_good(world)


def test_a_worker_that_hears_nothing_is_ended_by_the_shell(runpod: World) -> None:
    runpod.acts[1] = "deaf"
    order(runpod)
    runpod.until(lambda: not runpod.fake.alive(), SECONDS + 20)
    assert notes.read_outcome(runpod.store, "r", 1) is None
    over_for_good(runpod)


def test_lambda_waits_for_a_watcher(make: Callable[[str], World]) -> None:
    world = make("lambda")
    order(world)
    assert any("cannot end itself" in command.said for command in world.commands)
    at_the_deadline(world)
    assert len(world.fake.alive()) == 1
    over_for_good(world)
