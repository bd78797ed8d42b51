"""Each misbehaviour of each service: the run is whole, nothing is left, nothing costs more."""

from tests.clouds.e2e.world import World


def test_undisturbed(world: World) -> None:
    world.launch(*world.submission("r", "--watch", "--max-cost", "2"))
    world.launch("reap", "--yes")
    world.settled(2.0)
    world.whole("r")
    assert len(world.fake.ledger) == 1
