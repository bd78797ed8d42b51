"""A fake of Google Compute Engine that keeps to the discovery document, where that is at hand."""

from collections.abc import Iterator

import pytest

from launch.providers.gcp.adapter import Gcp
from tests.clouds import discovery
from tests.clouds.fake_gcp import FakeGcp
from tests.clouds.server import PLAIN
from tests.clouds.virtual_machine import VirtualMachine


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGcp]:
    monkeypatch.setattr(VirtualMachine, "start", lambda self: None)
    with FakeGcp() as made:
        yield made
        assert made.complaints() == []
        assert discovery.violations(made.requests) == []


@pytest.fixture
def cloud(service: FakeGcp) -> Gcp:
    return adapter(service)


def adapter(service: FakeGcp, **environ: str) -> Gcp:
    return Gcp(
        environ={**service.environ(), **environ}, transport=PLAIN, clock=service.clock.time,
        sleep=service.clock.advance,
    )  # fmt: skip
