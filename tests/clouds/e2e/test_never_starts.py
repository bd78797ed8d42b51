"""A machine that never starts, and a laptop that is closed after `submit`.

Either the machine ends itself below the limit, or `submit` said before the order that only a
computer of the user's does; a day later, a round of the installed timer ends what is left and
orders nothing more, for the day has used up the limit.
"""

import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from launch.contract import deadlines
from launch.providers import registry
from launch.supervise import timer
from launch.ui import enforcement
from mimir.runs import layout, notes
from tests.clouds.e2e.conftest import ALL
from tests.clouds.e2e.world import World

TOKEN = "CLOUDSDK_AUTH_ACCESS_TOKEN"
DAY = 86400.0
LIMIT = 0.5
TOOLS = ("sh", "curl", "sleep", "date", "cat", "timeout")


def image(world: World, python: str = "") -> None:
    """Machines start an image with a shell and curl, whose python3 is this script (none for "")."""
    folder = world.folder / "image"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(str(shutil.which(tool)))
    if python:
        (folder / "python3").write_text(f"#!/bin/sh\n{python}\n")
        (folder / "python3").chmod(0o755)
    world.fake.runs = lambda argv, env: ["/usr/bin/env", f"PATH={folder}", *argv]


def stuck(world: World) -> None:
    world.fake.fault("stuck")


def pull_error(world: World) -> None:
    """RunPod and Lambda show nothing of it: their machines only do not come up."""
    world.fake.fault("oci" if world.provider == "vastai" else "stuck")


def no_python(world: World) -> None:
    image(world)


def old_python(world: World) -> None:
    """As 3.8 does with what is written for 3.9."""
    image(world, "exit 1")


def no_torch(world: World) -> None:
    image(world, f'exec {sys.executable} -I -S "$@"')


def always(script: str) -> Callable[[Sequence[str], Mapping[str, str]], list[str]]:
    return lambda argv, env: ["/bin/sh", "-c", script]


def killed_at_once(world: World) -> None:
    world.fake.restarts = False
    world.fake.runs = always("kill -9 $$")


def restart_loop(world: World) -> None:
    world.fake.runs = always("exit 1")


WAYS: dict[str, tuple[Callable[[World], None], str]] = {
    "stuck": (stuck, "never starts"),
    "pull error": (pull_error, "never starts"),
    "no Python": (no_python, "without Python"),
    "old Python": (old_python, "without Python"),
    "no torch": (no_torch, "without torch"),
    "killed at once": (killed_at_once, "never starts"),
    "restart loop": (restart_loop, "never starts"),
}
"""Way -> what brings it about, and words of the limit that the plan names for it."""
NOTHING_RUNS = {("aws", "stuck"): "that hangs", ("aws", "pull error"): "that hangs"}
"""Where a machine ends itself if it boots: the limit of one on which nothing runs."""
SOON = {("runpod", "stuck"), ("runpod", "no Python"), ("vastai", "no torch"),
        ("lambda", "restart loop")}  # fmt: skip
"""Those that are tried at every change."""
CASES = [
    pytest.param(
        provider, way, id=f"{provider}-{way}",
        marks=() if (provider, way) in SOON else pytest.mark.long,
    )
    for provider in ALL
    for way in WAYS
]  # fmt: skip


def a_day_later(world: World) -> None:
    """The service's bill goes on, and all that the launcher wrote is a day older."""
    world.fake.clock.advance(DAY)
    order = notes.read_order(world.store, "r", 1)
    assert order is not None
    older = replace(order, time=order.time - DAY)
    world.store.put(layout.order_key("r", 1), notes._encoded(older.as_json()))


@pytest.mark.parametrize(("provider", "way"), CASES)
def test_who_was_named_ends_it(
    provider: str, way: str, make: Callable[[str], World], tmp_path: Path
) -> None:
    world = make(provider)
    happens, words = WAYS[way]
    words = NOTHING_RUNS.get((provider, way), words)
    happens(world)
    (limit,) = (e for e in enforcement.limits(registry.get(provider).caps) if words in e.what)
    submit = world.spawn(*world.submission("r", "--max-cost", str(LIMIT)))
    world.until(lambda: notes.read_machine(world.store, "r", 1))
    submit.kill()
    assert f"{limit.what}: " in submit.said
    if limit.machine:
        world.until(lambda: not world.fake.alive())
        a_day_later(world)
        assert world.fake.spent() <= LIMIT
    elif limit.service:  # at its deadline, which is over by then
        a_day_later(world)
        world.until(lambda: not world.fake.alive())
        (rental,) = world.fake.ledger
        order = notes.read_order(world.store, "r", 1)
        assert order is not None
        assert order.offer is not None
        assert rental.ended is not None
        price = order.offer.price
        late = deadlines.WATCH_OVERTIME / 3600 * price
        assert (rental.ended - rental.born) / 3600 * price <= LIMIT + late
        assert re.search(r"costs \$\d+\.\d\d more, where its service", submit.said)
    else:
        assert f"{limit.what}: only by a computer of yours that is on" in submit.said
        a_day_later(world)
    # What the timer's rounds get, and no more; for a file with Google's credentials, which they
    # get too, stands a token here.
    token = {name: word for name, word in world.env.items() if name == TOKEN}
    world.env = {"HOME": str(tmp_path), **timer.variables(world.env), **token}
    said = world.launch("watch", "--once")
    assert not world.fake.alive(), said
    assert world.status("r").state == "stopped", said
    assert "are used up" in world.status("r").reason
    world.launch("watch", "--once")
    assert len(world.fake.ledger) == 1
    world.settled(LIMIT if limit.machine else DAY)
