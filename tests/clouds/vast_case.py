"""What the tests of Vast.ai's adapter share: an adapter of a fake, and a machine of it."""

import time
from collections.abc import Callable
from typing import Any

import httpx

from launch.providers.cloud import Boot
from launch.providers.offer import Offer
from launch.providers.vastai import Vast
from tests.clouds import contract
from tests.clouds.fake_vast import FakeVast

SLEEP = Boot("org/image:tag", ("sleep", "60"), {"MIMIR_RUN": "r"})
NAME = "mimir-r-a0001"
PLAIN = httpx.HTTPTransport(verify=False)
"""Loopback needs no certificates: to load them takes ten times as long as a request."""
ON_DEMAND = Offer("vastai", "101", "RTX 4090", 25.8, 0.5, key={"ask": 101})
SPOT = Offer("vastai", "101-spot", "RTX 4090", 25.8, 0.3, spot=True, key={"ask": 101, "bid": 0.2})


def adapter(service: FakeVast, **environ: str) -> Vast:
    return Vast(
        environ={"MIMIR_VAST_URL": service.url, **environ},
        transport=PLAIN, clock=service.clock.time, sleep=service.clock.advance,
    )  # fmt: skip


def until(there: Callable[[], Any]) -> Any:
    for _ in range(500):
        found = there()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come")


def sent(service: FakeVast, method: str, path: str) -> list[Any]:
    return [each for each in service.requests if each.method == method and path in each.path]


def up(service: FakeVast, cloud: Vast, offer: Offer = ON_DEMAND, boot: Boot = SLEEP) -> str:
    """A machine that works."""
    id = cloud.create(offer, boot, NAME)
    service.clock.advance(1.0)
    return id


EXCEPTIONS = (
    contract.NOT_THE_SERVICES_WORDS,
    (r"/logs/", "where logs lie is not this service"),
    (r"request \$\.env", "a string in the document; an object in the vendor's prose and client"),
    (r"\$\.instances: None", "the document's newer, generated form says null for what is gone"),
    (r"\$\.instances\.extra_env", "pairs in the list, texts in the look; the same things in truth"),
    (r"\$\.instances\.ports", "a list in the look, an object or null in the list"),
    (r"'insufficient_credit' is not one of", "seen by others; the document has no such refusal"),
    (r" 40[13] answer.* no such status", "the document leaves out refused keys here and there"),
    (r" 500 answer.* no such status", "no document says that it fails"),
    (r"GET /api/v0/instances: .* no such operation", "the old list; the document has left it out"),
    (r" 429 answer.* no such status", "only some operations have their limits written down"),
)
"""Where fake and adapter leave the vendor's document, and why."""


def kept_to_the_document(service: FakeVast) -> None:
    """Fail if what was exchanged is not as the vendor's document has it, where that is at hand."""
    document = contract.FOLDER / "vast.yaml"
    if document.exists():
        assert contract.check(document, service.requests, EXCEPTIONS) == []
