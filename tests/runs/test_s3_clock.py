"""The clock of an S3 server, as its answers tell it."""

from types import SimpleNamespace
from typing import Any

import pytest

from mimir.errors import StoreError
from mimir.runs import s3_clock
from mimir.runs.s3_clock import TOLD_FOR, ServerClock
from mimir.runs.store import open_store

DATE, UNIX = "Sat, 28 Nov 2026 06:00:00 GMT", 1_795_845_600.0


def answer(date: str = DATE) -> dict[str, Any]:
    return {"ResponseMetadata": {"HTTPHeaders": {"date": date} if date else {}}}


def test_counted_on_until_this_computer_slept_or_its_time_was_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = SimpleNamespace(time=lambda: 5.0, monotonic=lambda: 100.0)
    monkeypatch.setattr(s3_clock, "time", here)
    clock = ServerClock()
    assert clock.now() is None
    for text in ("", "yesterday", "yesterday GMT", *(DATE[:end] for end in range(len(DATE)))):
        clock.hear(answer(text))
        assert clock.now() is None
    clock.hear(answer())
    here.monotonic, here.time = lambda: 130.0, lambda: 35.0
    assert clock.now() == UNIX + 30
    clock.hear({})
    assert clock.now() == UNIX + 30
    for away in (-7200.0, 7200.0):  # asleep, the monotonic clock stood still
        here.time = lambda away=away: 35.0 + away
        assert clock.now() is None
    here.monotonic, here.time = lambda: 100.0 + TOLD_FOR, lambda: 35.0
    assert clock.now() is None


def test_any_answer_tells_it_and_else_one_request_does(s3, monkeypatch) -> None:
    store = open_store(s3.url("clock"))
    sent: list[str] = []

    def see(request: Any, **_: Any) -> None:
        sent.append(request.method)

    store._client.meta.events.register("before-send.s3", see)
    store.read("missing")  # a refusal bears it as well
    first = store.now()
    assert sent == ["GET"]
    monkeypatch.setattr(s3_clock, "TOLD_FOR", 0.0)
    with pytest.raises(StoreError, match="does not tell the time"):
        store.now()
    assert sent == ["GET", "GET"]
    monkeypatch.undo()
    assert store.now() >= first - 1
    assert sent == ["GET", "GET"]


def test_keys_that_may_not_list_are_told_the_time_too(s3) -> None:
    store = open_store(s3.url("prefix", bucket="nobodys"))
    denied = SimpleNamespace(status_code=403, headers={"date": DATE}, content=b"", raw=None)
    store._client.meta.events.register("before-send.s3", lambda **_: denied)
    assert store.now() == pytest.approx(UNIX, abs=60)
