"""Every provider of the registry, through the suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.providers import registry
from mimir.errors import MimirError
from tests.launch.providers.conformance import harness as harnesses
from tests.launch.providers.conformance.harness import Harness, Place
from tests.launch.providers.conformance.properties import PROPERTIES

FOUND = harnesses.find()
CASES = [
    (name, each)
    for name, harness in FOUND.items()
    for each in PROPERTIES
    if each not in harness.exceptions
]


FAILS = (
    AssertionError, NotImplementedError, AttributeError, MimirError, pytest.fail.Exception,
)  # fmt: skip
"""What a property raises of a provider that does not have it, or cannot be asked."""
EXCEPTIONS = [(name, each) for name, harness in FOUND.items() for each in harness.exceptions]


@pytest.fixture
def harness(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Harness]:
    made = FOUND[request.param](Place(tmp_path, monkeypatch))
    yield made
    made.close()


@pytest.mark.parametrize(("harness", "each"), CASES, indirect=["harness"])
def test_conforms(harness: Harness, each: str) -> None:
    PROPERTIES[each](harness)


@pytest.mark.parametrize(("harness", "each"), EXCEPTIONS, indirect=["harness"])
def test_an_exception_is_needed(harness: Harness, each: str) -> None:
    """An exception hides nothing that the provider does have."""
    with pytest.raises(FAILS):
        PROPERTIES[each](harness)


def test_every_row_of_the_registry_has_a_harness() -> None:
    assert sorted(FOUND) == sorted(registry.names())


def test_every_exception_is_a_property_and_has_a_reason() -> None:
    for name, harness in FOUND.items():
        for each, reason in harness.exceptions.items():
            assert each in PROPERTIES, f"{name}: {each} is no property"
            assert len(reason.split()) >= 4, f"{name}, {each}: say why"
