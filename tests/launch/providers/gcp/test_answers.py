"""Strange answers of Google's: each field of each with values of other types."""

import copy
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from launch.contract.cloud import Instance, State
from launch.contract.errors import ProviderError, UnknownOutcome
from launch.contract.offer import Need, Offer
from launch.providers.gcp import answers
from launch.providers.gcp.adapter import Gcp
from mimir.errors import MimirError
from tests.clouds.fake_gcp import PROJECT, FakeGcp
from tests.launch.providers.gcp.conftest import adapter
from tests.launch.providers.gcp.test_adapter import NAME, SLEEP, spot

WRONG: tuple[Any, ...] = (None, 7, "x", [], {}, True, -1, ["x"], [7])
EMPTY: tuple[Any, ...] = (None, [], {}, "x")
"""What is right in a list where nothing is, or where something has another name."""
Way = tuple[str | int, ...]


class Replay(httpx.BaseTransport):
    """Answers as a service did before, and one of them with another value at one place."""

    def __init__(self, told: dict[tuple[str, str], Any]) -> None:
        self.told = told
        self.wrong: tuple[tuple[str, str], Way, Any] = (("", ""), (), None)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        key = (request.method, request.url.path)
        if key not in self.told:
            words = f"The resource '{request.url.path}' was not found"
            return httpx.Response(404, json={"error": {"message": words}})
        value = self.told[key]
        where, way, wrong = self.wrong
        if key == where:
            value = _with(value, way, wrong)
        return httpx.Response(200, json=value)


def _with(value: Any, way: Way, wrong: Any) -> Any:
    if not way:
        return wrong
    value = copy.deepcopy(value)
    place = value
    for part in way[:-1]:
        place = place[part]
    place[way[-1]] = wrong
    return value


def _ways(value: Any, way: Way = ()) -> Iterator[Way]:
    """Every place in an answer; of a list its first element."""
    yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(
        value, list) else ()  # fmt: skip
    for key, each in inner:
        yield from _ways(each, (*way, key))


def _sane_offers(found: list[Offer]) -> None:
    for each in found:
        assert math.isfinite(each.price)
        assert 0.1 < each.price < 100, "no part of it is free"
        assert isinstance(each.key["disk"], int)
        assert each.key["disk"] >= 30
        json.dumps(each.as_json())


def _there(found: Instance | None) -> None:
    assert found is not None
    assert found.state is not State.GONE
    assert all(isinstance(each, str) for each in (found.name, found.said, found.address))


def _one(found: list[Instance]) -> None:
    assert len(found) == 1, "a machine that runs must not be missing in a list that is whole"
    _there(found[0])


def _gone(found: Instance | None) -> None:
    assert found is None or found.state is State.GONE


def _nothing(found: object) -> None:
    """Nobody can see that it is wrong."""


def _made(found: str) -> None:
    assert found.startswith(f"{PROJECT}/us-central1-a/")


GONE = f"{PROJECT}/us-central1-a/mimir-r-a0002"


@pytest.fixture
def replay(service: FakeGcp, cloud: Gcp) -> Replay:
    """With one machine, and one that Google took away."""
    offer, service.stopping = spot(cloud), 0
    one, two = (cloud.create(offer, SLEEP, name) for name in (NAME, "mimir-r-a0002"))
    assert two == GONE
    service.preempt(two)
    cloud.instances()
    cloud.leftovers()
    cloud.get(one)
    cloud.get(two)
    cloud.logs(one, 5)
    told = {(each.method, each.path): copy.deepcopy(each.answer) for each in service.requests
            if each.status == 200}  # fmt: skip
    for (method, path), answer in told.items():
        if (method, path.rpartition("/")[2]) == ("POST", "instances"):
            answer["status"] = "RUNNING"
    return Replay(told)


def _problem(part: str, ask: Callable[[], Any], sane: Callable[[Any], None], wrong: Any) -> str:
    """What is wrong with what is made of a strange answer, "" for nothing."""
    try:
        found = ask()
        if part != "instances" or wrong not in EMPTY:
            sane(found)
    except MimirError as error:
        if part == "gone":
            return f"that it is gone is certain: {error}"
        if part == "create" and not isinstance(error, UnknownOutcome):
            return f"there may be a machine: {error!r}"
        return "" if "\n" not in str(error) else f"several lines: {error}"
    except Exception as error:  # noqa: BLE001 - what must not come
        return repr(error)
    return ""


def test_no_value_of_another_type_is_a_traceback(service: FakeGcp, replay: Replay) -> None:
    cloud = Gcp(environ=service.environ(), transport=replay, clock=service.clock.time,
                sleep=service.clock.advance)  # fmt: skip
    offer = spot(cloud)
    id = cloud.create(offer, SLEEP, NAME)
    stock = "/(machineTypes|acceleratorTypes|regions|skus|family/.*|networks/default|fake-project)"
    parts: dict[str, tuple[Callable[[], Any], Callable[[Any], None], str]] = {
        "offers": (lambda: cloud.offers(Need(spot=True)), _sane_offers, stock),
        "get": (lambda: cloud.get(id), _there, f"/{id.rpartition('/')[2]}"),
        "gone": (lambda: cloud.get(GONE), _gone, "/operations"),
        "instances": (cloud.instances, _one, "aggregated/instances"),
        "leftovers": (cloud.leftovers, _nothing, "aggregated/disks"),
        "logs": (lambda: cloud.logs(id, 5), _nothing, "/serialPort"),
        "create": (lambda: cloud.create(offer, SLEEP, NAME), _made, "zones/.*(/instances|/wait)"),
        "regions": (cloud.regions, _nothing, "/regions"),
    }
    tried, problems = 0, []
    for part, (ask, sane, path) in parts.items():
        meant = [key for key in replay.told if re.search(f"{path}$", key[1])]
        assert meant, part
        for where in meant:
            for way in _ways(replay.told[where]):
                for wrong in WRONG:
                    replay.wrong = (where, way, wrong)
                    tried += 1
                    problem = _problem(part, ask, sane, wrong)
                    problems += [f"{part}, {replay.wrong}: {problem}"] if problem else []
    assert problems == []
    assert tried > 1000


LISTS: dict[str, tuple[dict[str, Any], str]] = {
    "warning of a scope": ({"items": {"zones/a": {"warning": {"code": "UNREACHABLE"}}}}, "zones/a"),
    "unreachables": ({"items": {}, "unreachables": ["zones/b"]}, "zones/b"),
    "warning of the whole": ({"items": {}, "warning": {"code": "UNREACHABLE"}}, "UNREACHABLE"),
    "a warning without a word": ({"items": {}, "warning": {"message": "no"}}, "a warning"),
    "no list in a scope": ({"items": {"zones/a": {"instances": 7}}}, "instances of zones/a"),
    "no scope": ({"items": {"zones/a": 7}}, "zones/a"),
    "no row": ({"items": {"zones/a": {"instances": [7]}}}, "instances of zones/a"),
    "unreachables of another type": ({"items": {}, "unreachables": 7}, "unreachables"),
    "no items": ({}, "holds no instances"),
    "a token of another type": ({"items": {}, "nextPageToken": 7}, "nextPageToken"),
}


@pytest.mark.parametrize(("page", "said"), LISTS.values(), ids=LISTS.keys())
def test_a_list_that_is_not_whole_is_an_error(
    service: FakeGcp, page: dict[str, Any], said: str
) -> None:
    told = {("GET", f"/compute/v1/projects/{PROJECT}/aggregated/instances"): page}
    cloud = Gcp(environ=service.environ(), transport=Replay(told), sleep=service.clock.advance)
    with pytest.raises(ProviderError, match=said):
        cloud.instances()


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ({"kind": "l", "items": [], "warning": {"code": "UNREACHABLE"}}, "UNREACHABLE"),
        ({"kind": "l", "items": None}, "no list"),
        ({"kind": "l", "items": {}}, "items"),
        ({"kind": "l", "items": [7]}, "items"),
        ({"items": []}, "no list"),
        ([], "list of regions"),
    ],
)
def test_a_plain_list_that_is_not_whole_is_an_error(service: FakeGcp, page: Any, said: str) -> None:
    told = {("GET", f"/compute/v1/projects/{PROJECT}/regions"): page}
    cloud = Gcp(environ=service.environ(), transport=Replay(told), sleep=service.clock.advance)
    with pytest.raises(ProviderError, match=said):
        cloud.regions()


def test_nothing_on_a_page_is_no_gap(service: FakeGcp) -> None:
    nothing = {"warning": {"code": "NO_RESULTS_ON_PAGE"}}
    told = {("GET", f"/compute/v1/projects/{PROJECT}/aggregated/instances"):
            {"items": {"zones/a": nothing, "zones/b": {}}, **nothing}}  # fmt: skip
    cloud = Gcp(environ=service.environ(), transport=Replay(told), sleep=service.clock.advance)
    assert cloud.instances() == []


def test_numbers_and_times() -> None:
    row = {"a": "50", "b": 2.5, "c": "2026-11-29T07:00:00.250-08:00"}
    assert [answers.number(row, key, "it") for key in "abd"] == [50.0, 2.5, 0.0]
    assert answers.time(row, "c", "it") % 60 == 0.25
    for wrong in ("ten", True, float("inf"), [], "1e9", ""):
        with pytest.raises(ProviderError, match="a of it"):
            answers.number({"a": wrong}, "a", "it")
    for late in ("2026", "soon", 7, None, "9999-99-99T00:00:00Z", "2026-11-29T07:00:00"):
        with pytest.raises(ProviderError, match="it"):
            answers.time({"c": late}, "c", "it")


def test_strangers_are_not_ours(service: FakeGcp) -> None:
    assert adapter(service).instances() == []
