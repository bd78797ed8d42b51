"""Why a machine does not come up can be seen while it does not, and the next one gets there."""

import json
from collections.abc import Callable

import pytest

from launch.payload.container import PUBLIC_IMAGE
from mimir.runs import notes
from tests.clouds.e2e.world import World

UNHURRIED = json.dumps({"launch.contract.deadlines:BEGIN_WITHIN": 600.0})
AT_ONCE = json.dumps({"launch.providers.pulls:PULLED_WITHIN": 0.0})
PASSWORD = "token-of-a-person"


@pytest.mark.parametrize("provider", ["runpod", pytest.param("vastai", marks=pytest.mark.long)])
def test_an_image_that_cannot_be_pulled(provider: str, make: Callable[[str], World]) -> None:
    world = make(provider)
    world.fake.fault("no_pull")
    laptop = world.spawn(*world.submission("r"), patches=UNHURRIED)
    world.until(lambda: notes.read_machine(world.store, "r", 1))
    laptop.kill()
    for command in ("status", "logs"):
        said = world.launch(command, "r")
        assert "You have reached your unauthenticated pull rate limit" in said
        assert "set $MIMIR_REGISTRY_USER" in said
    (told, *_) = json.loads(world.launch("status", "r", "--json"))["service"]
    assert told.startswith(f"{provider} says of its machine: ")
    said = world.launch("watch", "r", "--once", PATCHES=AT_ONCE)
    assert f"{PUBLIC_IMAGE} could not be pulled: attempt 2 uses ghcr.io/{PUBLIC_IMAGE}" in said
    world.until(lambda: world.begun("r", 2))
    assert world.launch("status", "r").count("says of its machine") == 0
    machine = notes.read_machine(world.store, "r", 2)
    assert machine is not None
    assert machine.image == f"ghcr.io/{PUBLIC_IMAGE}"
    world.finish("r")
    world.settled(1.0)
    world.whole("r")


def test_a_machine_that_vanishes(runpod: World) -> None:
    """Taken away while it pulls its image: who watches orders the next one."""
    runpod.fake.fault("stuck")
    laptop = runpod.spawn(*runpod.submission("r", "--watch"), patches=UNHURRIED)
    runpod.until(lambda: notes.read_machine(runpod.store, "r", 1))
    runpod.until(lambda: "waiting for attempt 1 to begin" in laptop.said)
    runpod.fake.end(runpod.fake.ledger[0].id)
    assert laptop.wait() == 0
    assert "attempt 1 has not begun: its machine is gone" in laptop.said
    runpod.settled(1.0)
    runpod.whole("r")
    assert runpod.status("r").attempt == 2


def test_a_private_image(runpod: World) -> None:
    """Its registry's login reaches RunPod, and nothing else; it is gone when the machine is."""
    fake = runpod.fake
    runpod.env |= {
        "MIMIR_IMAGE": "private/image:1", "MIMIR_REGISTRY_USER": "me",
        "MIMIR_REGISTRY_PASSWORD": PASSWORD,
    }  # fmt: skip
    fake.fault("capacity")
    runpod.launch(*runpod.submission("r", "--watch"))
    runpod.launch("watch", "r", "--once")
    runpod.settled(1.0)
    runpod.whole("r")
    assert fake.logins == {}  # type: ignore[attr-defined]
    held = [each for each in fake.requests if PASSWORD in json.dumps([each.body, each.answer])]
    assert {each.path for each in held} == {"/v2/registries"}
    assert len(held) == 2, "one for the offer that was gone, one for the next"
    kept = [
        key for key in runpod.store.list("")
        if PASSWORD.encode() in runpod.store.get(key, limit=1 << 24)
    ]  # fmt: skip
    assert kept == []
    assert all(PASSWORD not in command.said for command in runpod.commands)
