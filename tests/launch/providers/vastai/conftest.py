"""A fake of Vast.ai that keeps to the vendor's document, where that is at hand, and an adapter."""

from collections.abc import Iterator

import pytest

from launch.providers.vastai.adapter import Vast
from tests.clouds import documents
from tests.clouds.fake_vast import FakeVast
from tests.launch.providers.vastai.case import adapter


@pytest.fixture
def service() -> Iterator[FakeVast]:
    with FakeVast() as made:
        yield made
        assert documents.violations("vastai", made.requests) == []


@pytest.fixture
def cloud(service: FakeVast) -> Vast:
    return adapter(service, VAST_API_KEY=service.token)
