"""Clocks that are hours off, of the laptop and of machines: nothing is judged by them."""

import datetime
from urllib.parse import urlsplit

import pytest
from moto.s3.models import s3_backends

from mimir.runs import layout, notes
from tests.clouds.e2e.world import UNHURRIED, World

HOUR = 3600


def let_pass(world: World, attempt: int, seconds: float) -> None:
    """The server's clock goes on by so many seconds, for an attempt that gives no more signs."""
    url = urlsplit(world.store.url)
    key = f"{url.path[1:]}/{layout.heartbeat_key('r', attempt)}"
    for account in s3_backends.values():
        if url.netloc in account["global"].buckets:
            found = account["global"].buckets[url.netloc].keys[key]
            found.last_modified -= datetime.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("laptop", "machine"),
    [(3 * HOUR, -2 * HOUR), pytest.param(-2 * HOUR, 3 * HOUR, marks=pytest.mark.long)],
)
def test_only_what_gives_no_sign_is_replaced(runpod: World, laptop: int, machine: int) -> None:
    world = runpod
    world.acts, world.skew = {1: "mute 6", 2: "holds 30"}, machine
    world.steps = 40

    def launch(*words: str) -> str:
        return world.launch(*words, patches=UNHURRIED, SKEW=str(laptop))

    launch(*world.submission("r", "--max-hours", "1"))
    world.until(lambda: world.step("r") == 6)
    assert "r: working" in launch("watch", "r", "--once")
    let_pass(world, 1, 610)
    assert "attempt 2 is ordered" in launch("watch", "r", "--once")
    keeper = world.spawn("watch", "r", patches=UNHURRIED, SKEW=str(laptop))
    world.until(lambda: world.step("r") == 30)
    assert "r: working" in launch("watch", "r", "--once")
    rental = world.machine("r")
    assert rental is not None
    world.lose(rental)
    assert keeper.wait() == 0, keeper.said
    world.whole("r")
    gone = [notes.read_gone(world.store, "r", number) for number in (1, 2, 3)]
    assert [each and each.kind for each in gone] == ["failure", "eviction", "over"]
    assert gone[0] is not None
    assert "has given no sign for 10 min" in gone[0].why
    assert world.status("r").attempt == 3
    world.settled(5.0)
