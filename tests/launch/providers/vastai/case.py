"""What the tests of Vast.ai's adapter share: an adapter of a fake, and a machine of it."""

from typing import Any

from launch.contract.cloud import ContainerSpec
from launch.contract.offer import Offer
from launch.providers.vastai.adapter import Vast
from tests.clouds.fake_vast import FakeVast
from tests.clouds.server import PLAIN

SLEEP = ContainerSpec("org/image:tag", ("sleep", "60"), {"MIMIR_RUN": "r"})
NAME = "mimir-r-a0001"
ON_DEMAND = Offer("vastai", "101", "RTX 4090", 25.8, 0.5, key={"ask": 101})
SPOT = Offer("vastai", "101-spot", "RTX 4090", 25.8, 0.3, spot=True, key={"ask": 101, "bid": 0.2})


def adapter(service: FakeVast, **environ: str) -> Vast:
    return Vast(
        environ={"MIMIR_VAST_URL": service.url, **environ},
        transport=PLAIN, clock=service.clock.time, sleep=service.clock.advance,
    )  # fmt: skip


def sent(service: FakeVast, method: str, path: str) -> list[Any]:
    return [each for each in service.requests if each.method == method and path in each.path]


def up(
    service: FakeVast, cloud: Vast, offer: Offer = ON_DEMAND, boot: ContainerSpec = SLEEP
) -> str:
    """A machine that works."""
    id = cloud.create(offer, boot, NAME)
    service.clock.advance(1.0)
    return id
