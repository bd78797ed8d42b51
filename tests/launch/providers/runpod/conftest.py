"""A fake of RunPod that keeps to the vendor's document, where that is at hand, and an adapter."""

from collections.abc import Iterator

import pytest

from launch.providers.runpod.adapter import RunPod
from tests.clouds import documents
from tests.clouds.fake_runpod import FakeRunPod
from tests.launch.providers.runpod.case import KEY, adapter


@pytest.fixture
def fake() -> Iterator[FakeRunPod]:
    with FakeRunPod(KEY) as service:
        yield service
        assert documents.violations("runpod", service.requests) == []


@pytest.fixture
def cloud(fake: FakeRunPod) -> RunPod:
    return adapter(fake)
