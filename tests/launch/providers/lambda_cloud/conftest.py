"""A fake of Lambda that keeps to the vendor's document, where that is at hand, and an adapter."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.providers import ssh
from launch.providers.lambda_cloud.adapter import Lambda
from tests.clouds import documents
from tests.clouds.fake_lambda import FakeLambda
from tests.launch.providers.lambda_cloud.case import adapter
from tests.waiting import LIMIT


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLambda]:
    monkeypatch.setattr(ssh, "ANSWERS_WITHIN", LIMIT)
    pytest.importorskip(
        "paramiko", reason="machines of Lambda are entered by SSH: pip install paramiko"
    )
    with FakeLambda() as made:
        yield made
        assert made.complaints() == []
        assert documents.violations("lambda", made.requests) == []


@pytest.fixture
def cloud(service: FakeLambda, tmp_path: Path) -> Lambda:
    return adapter(service, tmp_path)
