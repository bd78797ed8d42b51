"""Halves of answers, redirects and web pages: each is told, and none is believed."""

from collections.abc import Callable, Iterator

import pytest

from mimir.errors import Conflict, MimirError, NotFound, StoreDenied, StoreError
from mimir.runs import s3_answers
from mimir.runs.s3_content import PART
from mimir.runs.s3_store import S3Store
from mimir.runs.s3_url import parse_url
from tests.servers.faults import Faults

SIZES = [n / 6 for n in range(6)]
"""Where an answer's head is cut."""
SHARES = {"page": (0.1, 0.3, 0.6), "redirect": (0.1, 0.3, 0.6, 0.9)}
"""Which page or redirect comes."""
BODY = bytes(range(256)) * 40


@pytest.fixture
def faults(s3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    monkeypatch.setattr(s3_answers, "_PAUSE", 0.0)
    proxy = Faults(s3.endpoint, seed=0, rate=0.0)
    yield proxy
    proxy.close()


@pytest.fixture
def store(s3, faults: Faults, request: pytest.FixtureRequest) -> S3Store:
    prefix = f"answers-{abs(hash(request.node.name))}"
    made = S3Store(parse_url(s3.url(prefix).replace(s3.endpoint, faults.endpoint)), tries=3)
    made.put("run/there", BODY)
    return made


ACTIONS: dict[str, Callable[[S3Store], object]] = {
    "read": lambda store: store.read("run/there"),
    "get": lambda store: store.get("run/there"),
    "get large": lambda store: store.get("run/there", size=PART + 1),
    "list": lambda store: list(store.list("")),
    "folders": lambda store: list(store.folders()),
    "put": lambda store: store.put("run/new", b"x"),
    "create": lambda store: store.put_if_absent("run/fresh", b"x"),
    "swap": lambda store: store.compare_and_swap("run/there", b"x", "0" * 32),
    "content": lambda store: store.put_content("run/content", b"x" * 99),
    "parts": lambda store: store.put_content("run/parts", bytes(PART + 1)),
    "time": lambda store: asked_for_the_time(store),
}


def asked_for_the_time(store: S3Store) -> float:
    """As if no answer had told it yet."""
    store._clock._last = None
    return store.now()


def outcome(act: Callable[[], object]) -> object:
    try:
        return act()
    except MimirError as error:
        return error


@pytest.mark.parametrize("fault", ["page", "redirect", "cut in headers"])
def test_an_answer_that_is_none_is_never_believed(
    store: S3Store, faults: Faults, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    for action, act in ACTIONS.items():
        for size in SHARES.get(fault, SIZES)[:: 4 if action == "parts" else 1]:
            monkeypatch.setattr(faults, "draw", lambda _, size=size: (fault, size))
            found = outcome(lambda act=act: act(store))
            if not isinstance(found, MimirError):
                # Of a write the head may have come through as far as the ETag.
                assert fault == "cut in headers", (action, size)
                assert action in ("create", "put", "content", "parts", "time"), (action, size)
                continue
            assert not isinstance(found, NotFound), (action, size)
            if isinstance(found, Conflict):
                continue  # the status of a refusal is enough
            assert faults.endpoint in str(found)
            assert "\n" not in str(found)
            if fault != "cut in headers" and action not in ("create", "swap"):
                # Three times the same: that is no accident.
                assert isinstance(found, StoreDenied), (action, size, str(found))


def test_one_that_is_whole_the_next_time_is_enough(
    store: S3Store, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault in ("page", "redirect", "cut in headers"):
        for size in SHARES.get(fault, SIZES[::2]):
            drawn = iter([(fault, size), (fault, size)])
            monkeypatch.setattr(faults, "draw", lambda _, d=drawn: next(d, ("served", 0.0)))
            assert store.get("run/there") == BODY
            drawn = iter([(fault, size), (fault, size)])
            monkeypatch.setattr(faults, "draw", lambda _, d=drawn: next(d, ("served", 0.0)))
            assert list(store.list("")) == ["run/there"]


def test_wherever_a_head_is_cut_the_next_one_is_enough(
    store: S3Store, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also within a date or a number, which the parser refuses before anybody may try again."""
    reads = {"read": ACTIONS["read"], "get": ACTIONS["get"], "list": ACTIONS["list"]}
    whole = {name: act(store) for name, act in reads.items()}
    for place in range(100):
        for name, act in reads.items():
            drawn = iter([("cut in headers", place / 100)])
            monkeypatch.setattr(faults, "draw", lambda _, d=drawn: next(d, ("served", 0.0)))
            assert outcome(lambda act=act: act(store)) == whole[name], (name, place)


def test_a_conditional_write_is_sent_once(
    store: S3Store, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second one would meet the first, and be refused for its sake."""
    for fault in ("page", "redirect", "cut in headers"):
        asked: list[str] = []
        monkeypatch.setattr(faults, "draw", lambda a, f=fault, n=asked: (n.append(a), (f, 0.05))[1])
        with pytest.raises(StoreError) as caught:
            store.put_if_absent(f"run/{fault.replace(' ', '-')}", b"x")
        assert type(caught.value) is StoreError  # it may have landed: read, then believe
        assert len(asked) == 1
