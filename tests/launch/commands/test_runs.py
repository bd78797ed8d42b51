"""runs: which runs are shown, in which order, by how many requests."""

import json
import re
from pathlib import Path

import pytest

from launch.commands.label import label
from launch.commands.note import note
from launch.commands.runs import runs
from launch.commands.status import status
from mimir import console
from mimir.errors import BadInput
from mimir.runs import layout, notes, remove
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.hosts import Hosts
from mimir.runs.listing import list_runs
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone, Heartbeat
from mimir.runs.order import Order, Plan
from mimir.runs.record import RunRecord, create_run
from tests.launch.paper import offer
from tests.runs.memory import CountingStore

NOW = 1_800_000_000.0
DAY = 86_400.0
RUNS = (  # name, days old, state, held-out, $/h for one hour, None for a run that never began
    ("old", 90, "done", 2.9, 2.0),
    ("best", 20, "failed", 2.1, 0.5),
    ("new", 1, "running", 2.5, 1.0),
    ("idle", 30, "queued", None, None),
)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> CountingStore:
    store = CountingStore()
    store.clock = lambda: NOW
    for name, days, state, val, price in RUNS:
        create_run(store, RunRecord(name, "smoke", {}, 0, NOW - days * DAY))
        if price is None:
            continue
        provider = "vastai" if name == "best" else "runpod"
        order = Order(provider, Plan((provider,), hosts=Hosts()), NOW - 7200, offer(price))
        attempt = Attempt.claim(store, name, raise_attempt(store, name, order))
        notes.record_machine(store, name, 1, Machine(provider, NOW - 7200, "i1", price=price))
        attempt.commit(40 + days, b"state", None)
        beat = Heartbeat(NOW, 40 + days, 200, rate=0.1, loss=3.0, val=val, interval_s=1e6)
        notes.write_heartbeat(store, name, 1, beat)
        if state == "done":
            attempt.finish("done")
        if state == "failed":
            end_attempt(store, name, 1, "failed", "the test says so")
        if state != "running":
            notes.record_gone(store, name, 1, Gone(NOW - 3600, "over", "it had ended"))
    create_run(store, RunRecord("zz", "smoke", {}, 0, NOW))
    store.put(layout.record_key("zz"), b"{")
    list_runs(store, NOW)  # seals what is done
    monkeypatch.setattr("mimir.runs.store.open_store", lambda url: store)
    return store


def lines(capsys: pytest.CaptureFixture[str], **words: object) -> list[str]:
    runs(store="memory://", **words)  # type: ignore[arg-type]
    return capsys.readouterr().out.splitlines()


def test_the_newest_comes_first_with_progress_and_what_is_left(
    store: CountingStore, capsys: pytest.CaptureFixture[str]
) -> None:
    head, *rows = lines(capsys)
    assert " ".join(head.split()) == "NAME PRESET STATE STEP LEFT LOSS HELD-OUT ATTEMPTS AGE"
    assert [row.split()[0] for row in rows[:5]] == ["new", "best", "idle", "old", "zz"]
    assert "running      41 of 200 (20%)   26 min  3.0000  2.5000" in rows[0]
    assert rows[5].startswith("zz: zz/run.json")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ({"state": "alive"}, ["new", "idle"]),
        ({"state": "finished"}, ["best", "old"]),
        ({"state": "failed,damaged"}, ["best", "zz"]),
        ({"since": "4w"}, ["new", "best", "zz"]),
        ({"limit": 2}, ["new", "best"]),
        ({"sort": "name", "state": "alive,finished"}, ["best", "idle", "new", "old"]),
        ({"sort": "held-out", "limit": 3}, ["best", "new", "old"]),
        ({"sort": "step", "limit": 2}, ["old", "best"]),
        ({"sort": "cost", "limit": 3}, ["new", "old", "best"]),
        ({"provider": "vastai"}, ["best"]),
        ({"sort": "state", "state": "alive,finished"}, ["idle", "new", "old", "best"]),
    ],
)
def test_some_are_chosen(
    store: CountingStore, capsys: pytest.CaptureFixture[str], words: dict[str, object],
    wanted: list[str],
) -> None:  # fmt: skip
    shown = [line.split()[0] for line in lines(capsys, **words)[1:]]
    assert [name for name in shown if not name.endswith(":")] == wanted
    runs(store="memory://", json=True, **words)  # type: ignore[arg-type]
    assert [row["run"] for row in json.loads(capsys.readouterr().out)] == wanted


def test_no_run_is_one_of_those_that_are_asked_for(
    store: CountingStore, capsys: pytest.CaptureFixture[str]
) -> None:
    runs(store="memory://", state="stopped")
    assert capsys.readouterr().err == f"no run matches (5 runs in {store.url})\n"


def cut_off(store: CountingStore, run: str, after: str) -> None:
    """Begin the removal of a run, up to the step that it is named by."""
    it = remove.target(store, run)
    remove.mark(store, it, "launch rm")
    if after == "mark":
        return
    remove.bury(store, it, {})
    if after == "record":
        store.delete(layout.record_key(run))


@pytest.mark.parametrize("after", ["mark", "bury", "record"])
@pytest.mark.parametrize("run", ["old", "best", "idle"])
def test_a_run_whose_removal_was_cut_off_is_listed_as_removed(
    store: CountingStore, capsys: pytest.CaptureFixture[str], run: str, after: str
) -> None:
    """Also once its run.json is deleted, from which on its status cannot be told."""
    cut_off(store, run, after)
    _, row, *more = lines(capsys, state="removed")
    assert row.split()[0] == run
    assert " removed " in f"{row} "
    told = [f"{run}: run {run} is being removed: finish that by `python -m launch rm {run}`"]
    assert more == (told if after == "record" else [])
    runs(store="memory://", state="removed", json=True)
    assert [each["run"] for each in json.loads(capsys.readouterr().out)] == [run]
    shown = lines(capsys, state="damaged")
    assert [line.split()[0] for line in shown[1:]] == ["zz", "zz:"]
    assert run in [line.split()[0] for line in lines(capsys)[1:]]


def test_a_removed_run_is_not_listed(
    store: CountingStore, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_off(store, "best", "bury")
    remove.clear(store, "best")
    beat = Heartbeat(NOW, 60, 200)
    notes.write_heartbeat(store, "best", 1, beat)  # its machine did not know yet
    assert lines(capsys, state="removed") == []
    assert "best" not in [line.split()[0] for line in lines(capsys)[1:]]


def test_watch_and_json_cannot_be_combined() -> None:
    with pytest.raises(BadInput, match="--watch and --json cannot be combined"):
        status("new", watch=True, json=True)


def test_a_run_after_its_last_step_shows_what_it_does(
    store: CountingStore, capsys: pytest.CaptureFixture[str]
) -> None:
    beat = Heartbeat(NOW, 200, 200, rate=0.1, loss=3.0, val=2.5, interval_s=1e6)
    notes.write_heartbeat(store, "new", 1, beat)
    assert "running      200 of 200 (100%)  making samples  3.0000" in lines(capsys)[1]


def test_notes_and_labels_go_first_where_there_is_no_room(
    store: CountingStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    label("best", "project=binders-of-a-long-name", store="memory://")
    note("best", "looked at again on Monday", store="memory://")
    capsys.readouterr()
    assert "LABELS" in lines(capsys)[0]
    monkeypatch.setattr(console, "width_of", lambda stream: 96)
    head, *_ = lines(capsys)
    for column in ("PRESET", "LEFT", "LOSS", "HELD-OUT"):
        assert column in head
    monkeypatch.setattr(console, "width_of", lambda stream: 60)
    head, *_ = lines(capsys, cost=True)
    assert "HELD-OUT" in head
    assert "COST" in head


def test_cost_is_read_when_it_is_asked_for(
    store: CountingStore, capsys: pytest.CaptureFixture[str]
) -> None:
    _, plain = store.count(lambda: lines(capsys))
    listed = store.count(lambda: list_runs(store, NOW))[1]
    assert plain == listed  # not one more than the list itself
    shown, took = store.count(lambda: lines(capsys, cost=True, limit=1))
    assert "PROVIDER  COST" in shown[0]
    assert "runpod    $2.00" in shown[1]
    assert took <= listed + 16  # of one run only
    runs(store="memory://", json=True, cost=True, state="failed")
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["provider"], row["dollars"]) == ("vastai", pytest.approx(0.5))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"state": "runing"}, "--state 'runing' is no state of a run; did you mean 'running'"),
        ({"sort": "stpe"}, "--sort 'stpe' is no column to sort by; did you mean 'step'"),
        ({"since": "yesterday"}, "--since is 'yesterday', but must be a duration such as"),
        ({"limit": -1}, "--limit is -1,"),
    ],
)
def test_bad_words(store: CountingStore, words: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        runs(store="memory://", **words)  # type: ignore[arg-type]


def test_states_are_coloured_and_json_never_is(
    store: CountingStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = lines(capsys)
    monkeypatch.setenv("FORCE_COLOR", "1")
    head, *rows = lines(capsys)
    for row, state, style in zip(rows, ("running", "failed", "not started", "done", "damaged"),
                                 ("32", "31", "2", "32", "31"), strict=False):  # fmt: skip
        assert f"\x1b[{style}m{state}\x1b[0m" in row
    assert [re.sub(r"\x1b\[[0-9]*m", "", line) for line in (head, *rows)] == plain
    runs(store="memory://", json=True)
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("width", "without"),
    [(200, ""), (96, ""), (80, "PRESET"), (60, "PRESET, ATTEMPTS, LEFT")],
)
def test_a_narrow_terminal_gets_fewer_columns_and_is_told(
    store: CountingStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    width: int, without: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(console, "width_of", lambda stream: width)
    monkeypatch.setenv("NO_COLOR", "1")
    shown = lines(capsys)
    assert max(map(len, shown[:6])) <= width
    said = " ".join(shown)
    assert ("too narrow" in said) == bool(without)
    assert f"too narrow for {without}; `--json`, or a pipe, has them" in said or not without
    assert not set(shown[0].split()) & set(without.split(", "))


def test_a_folder_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs(store=f"file://{tmp_path}/none")
    assert f"there is no folder {tmp_path}/none: check --store" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
