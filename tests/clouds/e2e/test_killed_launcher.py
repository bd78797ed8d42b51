"""The launcher is killed at any moment, or there are several: one machine for one attempt.

Meanwhile the service may answer its order by a 5xx or not at all, with or without a machine made.
"""

import os
import random

import pytest

from launch.contract.cloud import parse_name
from mimir.errors import BadInput
from mimir.runs import notes
from tests.clouds.e2e.world import CREATE, UNHURRIED, World
from tests.waiting import wait_for

SEED = int(os.environ.get("MOMENTS", random.SystemRandom().randrange(2**32)))
"""Said when a test fails; as $MOMENTS it brings the same moments again."""
SIGKILLED = -9
ANSWERS = ("", "error", "error_after", "lost_after", "hang_up")
"""Faults of the service's answer to an order, "" for none."""


def submitted(world: World, run: str) -> None:
    """Submit it; an order that is not answered is the watcher's."""
    command = world.spawn(*world.submission(run))
    assert command.wait() in (0, 75), command.said


def recover(world: World, run: str) -> None:
    """What a user does whose laptop died: `watch --once` from cron, `submit` if it never began."""

    def over() -> bool:
        try:
            status = world.status(run)
        except BadInput:
            submitted(world, run)
            return False
        assert status.state not in ("failed", "stopped"), world.story()
        if status.state == "done":
            return True
        if status.attempt == 0 and notes.read_order(world.store, run, 1) is None:
            submitted(world, run)
            return False
        world.launch("watch", run, "--once")
        return False

    wait_for(over, lambda: f"its end (seed {SEED})\n{world.story()}", every=0.3)
    world.launch("watch", run, "--once")


def counted(world: World, *words: str) -> int:
    """Run a command undisturbed; how many requests it sends."""
    path = world.folder / "count"
    world.launch(*words, COUNTED=str(path))
    return int(path.read_text())


def killed(world: World, words: tuple[str, ...], most: int, rng: random.Random) -> None:
    """Run a command that is killed at one of its requests, or within the moment before it."""
    at, when, answer = rng.randint(1, most), rng.choice(("before", "after")), rng.choice(ANSWERS)
    print(f"seed {SEED}: {words[:1]} killed {when} request {at} of {most}; create: {answer}")
    if answer:
        world.fake.fault(answer, **CREATE[world.provider])
    command = world.spawn(*words, KILL_AT=str(at), KILL_WHEN=when)
    assert command.wait() in (SIGKILLED, 0, 75), command.said


def killed_in_submit(world: World, times: int, rng: random.Random) -> None:
    most = counted(world, *world.submission("first"))
    recover(world, "first")
    for number in range(times):
        run = f"s{number}"
        killed(world, world.submission(run), most, rng)
        recover(world, run)
    world.launch("reap", "--yes")
    world.settled(5.0)
    for run in ("first", *(f"s{number}" for number in range(times))):
        world.whole(run)


def killed_in_watch(world: World, times: int, rng: random.Random) -> None:
    most = 0
    for number in range(times + 1):
        run = f"w{number}"
        world.launch(*world.submission(run))
        world.until(lambda run=run: world.step(run) > 0)
        rental = world.machine(run)
        assert rental is not None
        world.lose(rental)
        if number == 0:
            most = counted(world, "watch", run, "--once")
        else:
            killed(world, ("watch", run, "--once"), most, rng)
        recover(world, run)
    world.launch("reap", "--yes")
    world.settled(5.0)
    for number in range(times + 1):
        world.whole(f"w{number}")


def test_killed_in_submit(runpod: World) -> None:
    killed_in_submit(runpod, 2, random.Random(SEED))


def test_killed_in_watch(runpod: World) -> None:
    runpod.steps = 40
    killed_in_watch(runpod, 1, random.Random(SEED))


@pytest.mark.long
def test_killed_in_submit_at_thirty_moments(world: World) -> None:
    killed_in_submit(world, 30, random.Random(SEED))


@pytest.mark.long
def test_killed_in_watch_at_thirty_moments(world: World) -> None:
    world.steps = 40
    killed_in_watch(world, 30, random.Random(SEED))


def test_two_watchers_do_no_harm(vast: World) -> None:
    world = vast
    world.acts = {1: "holds 6", 2: "holds 30"}
    world.steps = 40
    world.launch(*world.submission("r"))
    watchers = [world.spawn("watch", "r", patches=UNHURRIED) for _ in range(2)]
    for attempt, step in ((1, 6), (2, 30)):
        world.until(lambda step=step: world.step("r") >= step)
        rental = world.machine("r")
        assert rental is not None
        assert parse_name(rental.name) == ("r", attempt)
        world.lose(rental)
    watchers.append(world.spawn("watch", "r", patches=UNHURRIED))
    assert [each.wait() for each in watchers] == [0, 0, 0]
    world.launch("reap", "--yes")
    world.settled(5.0)
    world.whole("r")
    assert world.status("r").attempt == 3
