"""A fake of AWS, and an adapter of it; machines run nothing unless a test starts them."""

from collections.abc import Iterator

import pytest

from launch.providers.aws.adapter import Aws
from tests.clouds.fake_aws import FakeAws
from tests.clouds.virtual_machine import VirtualMachine


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAws]:
    monkeypatch.setattr(VirtualMachine, "start", lambda self: None)
    with FakeAws() as made:
        yield made
        assert made.complaints() == []


@pytest.fixture
def cloud(service: FakeAws) -> Aws:
    return adapter(service)


def adapter(service: FakeAws, **environ: str) -> Aws:
    return Aws(
        environ={**service.environ(), **environ}, clock=service.clock.time,
        sleep=service.clock.advance,
    )  # fmt: skip
