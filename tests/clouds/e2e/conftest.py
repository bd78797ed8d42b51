"""An S3 server with an STS for all tests here, and worlds on it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clouds import fake_vast
from tests.clouds.e2e import world as worlds
from tests.clouds.e2e.world import Forks, World
from tests.e2e import jobs
from tests.servers.moto_server import serving

PROVIDERS = ("runpod", "vastai", "lambda")
ALL = (*PROVIDERS, "aws", "gcp")


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with serving() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    made = Forks()
    yield made
    made.close()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jobs.write_data(tmp_path_factory.mktemp("data") / "data.csv", 60)


@pytest.fixture
def make(
    forks: Forks, endpoint: str, small: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], World]]:
    """Makes a world of a provider, with stand-ins on its machines."""
    monkeypatch.setattr(fake_vast, "SEARCHES", 10**6)
    for name, value in (("AWS_ACCESS_KEY_ID", "aws_access_key_id"),
                        ("AWS_SECRET_ACCESS_KEY", "aws_secret_access_key")):  # fmt: skip
        monkeypatch.setenv(name, worlds.KEYS[value])
    with contextlib.ExitStack() as stack:

        def made(provider: str) -> World:
            world = stack.enter_context(worlds.made(forks, provider, endpoint, small))
            world.stand_ins()
            return world

        yield made


@pytest.fixture
def runpod(make: Callable[[str], World]) -> World:
    return make("runpod")


@pytest.fixture
def vast(make: Callable[[str], World]) -> World:
    return make("vastai")


@pytest.fixture(params=ALL)
def world(request: pytest.FixtureRequest, make: Callable[[str], World]) -> World:
    return make(request.param)
