"""alerts: what happened, over runs."""

import json
from pathlib import Path

import pytest

from launch.commands.alerts import alerts
from launch.ui import narrow
from mimir.errors import BadInput
from mimir.runs import alerts as events
from mimir.runs import layout
from mimir.runs.alerts import Event
from mimir.runs.begin import raise_attempt
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = open_store((tmp_path / "store").as_uri())
    for name, ago, level in (("old", 7200.0, "error"), ("new", 60.0, "warning")):
        now = made.now()
        create_run(made, RunRecord(name, "smoke", {}, 0, now - 10_000))
        raise_attempt(made, name, clock=lambda at=now: at - 9000)  # type: ignore[misc]
        event = Event(now - ago, level, "disk", f"{name} disk\x1b[2J")
        events.write_events(made, name, 1, (event,))
    return made


def told(
    capsys: pytest.CaptureFixture[str], *names: str, store: Store, **options: str
) -> list[str]:
    assert alerts(*names, store=store.url, **options) == 0  # type: ignore[arg-type]
    return capsys.readouterr().out.splitlines()


def test_the_newest_stands_last(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, store=store, level="warning")
    assert [line.split()[3:6] for line in lines[1:]] == [
        ["error", "old", "1"], ["warning", "new", "1"],
    ]  # fmt: skip
    assert lines[-1].endswith(r"new disk\u001b[2J"), "what a machine wrote is shown, not obeyed"
    assert len(told(capsys, "new", store=store, level="warning")) == 2
    assert len(told(capsys, store=store, level="warning", since="1h")) == 2
    assert len(told(capsys, store=store, level="error")) == 2


def test_json(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    alerts("new", store=store.url, level="warning", json=True)
    (only,) = json.loads(capsys.readouterr().out)
    assert only.pop("time") == pytest.approx(store.now() - 60, abs=30)
    assert only == {
        "run": "new", "attempt": 1, "level": "warning", "kind": "disk", "text": "new disk\x1b[2J",
        "by": "machine",
    }  # fmt: skip


def test_one_run_that_cannot_be_read_hides_no_other(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.put(layout.record_key("old"), b"nonsense")
    lines = told(capsys, store=store, level="warning")
    assert any("old" in line and "error" in line and "not JSON" in line for line in lines)
    assert any("new disk" in line for line in lines)


def test_nothing_happened(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    alerts("new", "old", store=store.url, level="error", since="1m")
    said = capsys.readouterr()
    assert said.out == ""
    assert "nothing of level error or above happened to run new or old in the last 1m" in said.err


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ({"level": "fatal"}, "--level is 'fatal', but must be info, warning or error"),
        ({"since": "yesterday"}, "--since is 'yesterday', but must be a duration"),
        ({"since": "-2h"}, "must be a duration"),
    ],
)
def test_bad_words(store: Store, words: dict[str, str], wanted: str) -> None:
    with pytest.raises(BadInput, match=wanted):
        alerts(store=store.url, **words)  # type: ignore[arg-type]


def test_a_run_that_is_not_there_is_said(store: Store) -> None:
    with pytest.raises(BadInput, match="no run nwe"):
        alerts("nwe", store=store.url)


@pytest.mark.parametrize(("width", "lacks"), [(60, "attempt"), (80, "")])
def test_sentences_go_on_below_themselves_on_a_narrow_terminal(width: int, lacks: str) -> None:
    sentence = "the machine did not answer for ten minutes, so that it was ended and another begun"
    rows = [
        ("time", "level", "run", "attempt", "what"),
        ("2026-11-29 13:23 UTC", "error", "second", "1", sentence),
    ]
    shown = narrow.hanging(rows, width, ("attempt", "level", "time")).splitlines()
    assert max(map(len, shown)) <= width
    assert (f"too narrow for {lacks}; " in " ".join(shown)) == bool(lacks)
    column = shown[0].index("what")
    assert " ".join(line[column:].strip() for line in shown[1:-1]).startswith(sentence[:50])
    assert str(narrow.hanging(rows, None, ())).count("\n") == 1
