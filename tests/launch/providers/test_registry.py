"""Providers by name, several, or any that has a key here."""

import pytest

from launch.providers import registry
from launch.providers.rented import Rented
from mimir.errors import BadInput
from tests.launch.paper import Paper

VARIABLES = ("RUNPOD_API_KEY", "VASTAI_API_KEY", "LAMBDA_API_KEY")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The clouds that have a key here."""
    made = {name: Rented(Paper(name)) for name in registry.renting()}
    has: set[str] = set()
    for name, provider in made.items():
        monkeypatch.setattr(provider.cloud, "configured", lambda name=name: name in has)
    real = registry.get
    monkeypatch.setattr(registry, "get", lambda name: made.get(name) or real(name))
    return has


def test_each_name_is_a_provider_of_that_name() -> None:
    for name in registry.names():
        assert registry.get(name).name == name
        assert registry.get(name) is registry.get(name)
    assert [n for n in registry.names() if registry.get(n).caps.paid] == list(registry.renting())


def test_several() -> None:
    assert registry.several("runpod") == ("runpod",)
    assert registry.several("vastai, local") == ("vastai", "local")
    assert registry.several("lambda,") == ("lambda",)
    assert registry.several("runpod,local,runpod") == ("runpod", "local")  # asked once


@pytest.mark.parametrize("call", [registry.several, registry.get], ids=["several", "get"])
def test_the_nearest_name_is_given(call: object) -> None:
    assert callable(call)
    with pytest.raises(BadInput, match=r"no provider 'runpd'.*runpod"):
        call("runpd")


@pytest.mark.parametrize("words", ["runpod,vast-ai", "vast-ai,runpod"])
def test_one_wrong_name_is_enough(words: str) -> None:
    with pytest.raises(BadInput, match=r"no provider 'vast-ai'.*vastai"):
        registry.several(words)


@pytest.mark.parametrize("words", ["", ",", " "])
def test_no_name(words: str) -> None:
    with pytest.raises(BadInput, match="no provider ''"):
        registry.several(words)


def test_any_is_all_that_rent_and_have_a_key(keys: set[str]) -> None:
    keys |= {"runpod", "lambda"}
    assert registry.several("any") == ("runpod", "lambda")


def test_any_stands_alone(keys: set[str]) -> None:
    keys |= {"runpod"}
    assert registry.several(" any,") == ("runpod",)
    for words in ("any,local", "runpod, any"):
        with pytest.raises(BadInput, match="'any' stands alone"):
            registry.several(words)


def test_any_without_a_key_names_the_variables(keys: set[str]) -> None:
    with pytest.raises(BadInput) as raised:
        registry.several("any")
    for variable in VARIABLES:
        assert variable in str(raised.value)


@pytest.mark.parametrize("name", ["local", "docker", "colab"])
def test_what_rents_nothing(name: str) -> None:
    with pytest.raises(BadInput, match=f"{name} rents nothing"):
        registry.rented(name)
    assert registry.rented("runpod").name == "runpod"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    row = registry.Row("launch.providers.nowhere:Far", needs="pip install far")
    monkeypatch.setitem(registry.ROWS, "far", row)
    with pytest.raises(BadInput, match=r"far cannot be used here .*nowhere.*pip install far"):
        registry.get("far")
