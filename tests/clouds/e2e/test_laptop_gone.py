"""With no launcher anywhere, a machine holds to its deadline, and ends itself where it can."""

import json
from collections.abc import Callable

import pytest

from mimir.runs import notes
from tests.clouds.e2e.world import World

BRIEF = {
    "launch.provision.choose:RESERVE": 0.0008, "launch.provision.choose:SHORTEST_RENTAL": 0.0012,
    "launch.pricing.forecast:START_UP": 0.0, "launch.pricing.forecast:COMPILER": 0.0,
    "launch.pricing.forecast:forecast(start_s)": 0.0,
    "launch.contract.deadlines:SHELL_OVERTIME": 60.0, "launch.contract.deadlines:KILL_AFTER": 1,
    "launch.contract.deadlines:SILENT_FOR": 600.0,
}  # fmt: skip
"""A machine that starts at once, so that its hours may be seconds: 3 s of them are kept back,
and 4 s are too few for another one."""
SECONDS = 13.0


def order(world: World, **more: float) -> None:
    """Submit a run that would take an hour, with some seconds of machines.

    The launcher is killed once the machine is recorded: it would end it after the deadline, and on
    a loaded machine that may have come before the launcher is done.
    """
    world.steps, world.pace = 100_000, 0.3
    world.env["PATCHES"] = json.dumps({**BRIEF, **more})
    submit = world.spawn(*world.submission("r", "--max-hours", str(SECONDS / 3600)))
    world.until(lambda: notes.read_machine(world.store, "r", 1))
    submit.kill()
    assert len(world.fake.ledger) == 1


def at_the_deadline(world: World) -> None:
    """The attempt committed what it had done, and said why it ended."""
    outcome = world.until(lambda: notes.read_outcome(world.store, "r", 1))
    machine = notes.read_machine(world.store, "r", 1)
    assert machine is not None
    assert outcome.cause == "deadline"
    assert outcome.time >= machine.deadline
    heartbeat = notes.read_heartbeat(world.store, "r", 1)
    assert heartbeat is not None
    assert outcome.step == heartbeat.step == world.step("r")


def over_for_good(world: World) -> None:
    """A watcher, at last: it ends what is left, and begins nothing beyond the limit."""
    world.until(lambda: "stopped" in world.launch("watch", "r", "--once", "--json"))
    reason = world.status("r").reason
    assert "in which no machine gets anything done" in reason or "are used up" in reason
    world.settled(1.0)
    assert len(world.fake.ledger) == 1


def refuse_its_key(world: World) -> None:
    if world.provider == "runpod":
        world.fake.fault("scoped_refused", times=1000)
    else:
        world.fake.fault("html_403", times=1000, method="DELETE")


def ends_itself(world: World, before: int) -> None:
    """By one request of its own."""
    at_the_deadline(world)
    world.until(lambda: not world.fake.alive())
    (only,) = [e for e in world.fake.requests[before:] if e.method != "GET"]
    assert only.method == {"runpod": "POST", "vastai": "DELETE"}[world.provider]
    assert notes.read_unended(world.store, "r", 1) is None


def stops_working(world: World) -> None:
    """And says in the store that it cannot end itself."""
    at_the_deadline(world)
    unended = world.until(lambda: notes.read_unended(world.store, "r", 1))
    assert "403" in unended.reason
    (rental,) = world.fake.alive()
    assert world.fake.machines[rental.id].working, "what waits to be ended"
    at = world.step("r")
    assert "could not end itself" in world.launch("status", "r")
    assert world.step("r") == at


def test_machines_hold_to_their_deadline(make: Callable[[str], World]) -> None:
    """All at once, for what takes time is waiting. Lambda's machines wait for a watcher."""
    good = [make(provider) for provider in ("runpod", "vastai")]
    refused = [make(provider) for provider in ("runpod", "vastai")]
    lamb = make("lambda")
    asked = []
    for world in refused:
        refuse_its_key(world)
    for world in (*good, *refused, lamb):
        order(world)
        asked.append(len(world.fake.requests))
    assert "cannot end itself" in lamb.commands[0].said
    for world in (*good, lamb):
        said = world.commands[0].said
        assert "a machine that never starts: only by a computer of yours that is on" in said
        assert "nothing is known to watch a machine of" in said
    for world, before in zip(good, asked, strict=False):
        ends_itself(world, before)
    for world in refused:
        stops_working(world)
        world.fake.disarm()
    at_the_deadline(lamb)
    (idle,) = lamb.fake.alive()
    assert f"{idle.id} ${idle.price:.2f}/h since" in lamb.launch("status", "r")
    for world in (*good, *refused, lamb):
        over_for_good(world)


@pytest.mark.long
def test_a_worker_that_hears_nothing_is_ended_by_the_shell(runpod: World) -> None:
    runpod.acts[1] = "deaf"
    order(runpod, **{"launch.contract.deadlines:SHELL_OVERTIME": 2.0})
    runpod.until(lambda: not runpod.fake.alive())
    assert notes.read_outcome(runpod.store, "r", 1) is None
    over_for_good(runpod)
