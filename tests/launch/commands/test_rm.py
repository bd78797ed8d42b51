"""rm and prune: what is shown, asked, removed and left."""

import importlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from launch.commands.prune import prune
from launch.commands.rm import rm
from launch.commands.runs import runs
from mimir.errors import INTERRUPTED, BadInput
from mimir.runs import layout, notes, remove, tombstone
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.head import REMOVED, find_head
from mimir.runs.notes import Heartbeat, Outcome
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import derive
from mimir.runs.store import Store, open_store

DAY = 86_400.0
removing = importlib.import_module("launch.supervise.removal")


@pytest.fixture
def full(tmp_path: Path) -> Store:
    """A store with a run in each state, all as old as the test."""
    store = open_store((tmp_path / "store").as_uri())
    for name in ("done", "failed", "fresh", "going", "broken"):
        create_run(store, RunRecord(name, "smoke", {}, 0, store.now() - 40 * DAY))
        if name == "fresh":
            continue
        attempt = Attempt.claim(store, name, raise_attempt(store, name))
        attempt.commit(7, b"state", None)
        notes.write_heartbeat(store, name, 1, Heartbeat(0.0, 7, 10))
        if name == "done":
            attempt.finish("done")
        if name == "failed":
            end_attempt(store, name, 1, "failed", "the test says so")
        if name != "going":
            notes.record_outcome(store, name, 1, Outcome(1, "so it is", store.now(), 7))
    store.put(layout.record_key("broken"), b"{")
    return store


def left(store: Store) -> list[str]:
    return list(store.folders())


def test_runs_are_removed_after_asking(
    full: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list(full.list(""))
    assert rm("done", "fresh", dry_run=True, store=full.url) == 0
    assert "done: done, step 7, at least 0.0 MB in 6 objects" in capsys.readouterr().err
    with pytest.raises(BadInput, match=r"2 runs \(7 steps, at least 0.0 MB\) .* say --yes"):
        rm("done", "fresh", store=full.url)
    monkeypatch.setattr("sys.stdin", terminal := io.StringIO("n\n"))
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    with pytest.raises(BadInput, match="nothing was deleted"):
        rm("done", store=full.url)
    with pytest.raises(
        BadInput, match=r"nothing was removed: run going is running .* stop it first"
    ):
        rm("done", "going", yes=True, store=full.url)
    assert list(full.list("")) == before
    monkeypatch.setattr("sys.stdin", terminal := io.StringIO("y\n"))
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    assert rm("done", store=full.url) == 0
    assert "removed 1 of 1 runs, 6 objects" in capsys.readouterr().out
    assert rm("broken", "done", yes=True, json=True, store=full.url) == 0
    broken, done = json.loads(capsys.readouterr().out)
    assert (broken["run"], broken["removed"], broken["state"]) == ("broken", 6, "")
    assert "broken/run.json" in broken["problem"]
    assert (done["run"], done["removed"], done["error"]) == ("done", 0, "")
    assert rm("done", store=full.url) == 0  # nothing to ask for
    told = capsys.readouterr()
    assert re.search("run done was removed on .* already: nothing is left of it", told.err)
    assert told.out == ""
    assert tombstone.names(full) == ["broken", "done"]
    with pytest.raises(BadInput, match="there is no run nothing"):
        rm("nothing", yes=True, store=full.url)


def test_one_that_cannot_be_removed_now_keeps_no_other(
    full: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = remove.bury

    def bury(store: Store, it: remove.Target, spent: dict[str, float]) -> None:
        if it.run == "done":
            raise OSError("the test says so")
        real(store, it, spent)

    monkeypatch.setattr(remove, "bury", bury)
    runs(store=full.url)  # which seals the one that is done
    forged = find_head(full, "done")
    assert forged is not None
    full.put(layout.head_key("done"), replace(forged, state=REMOVED, nonce="forged").to_bytes())
    assert prune(yes=True, json=True, store=full.url) == 0  # a machine's word removes nothing
    assert json.loads(capsys.readouterr().out[-3:]) == []
    assert rm("done", "failed", yes=True, store=full.url) == INTERRUPTED
    told = capsys.readouterr()
    assert "run done is not removed" in told.err
    assert "removed 1 of 2 runs" in told.out
    monkeypatch.setattr(remove, "bury", real)
    assert derive(full, "done", full.now()).state == REMOVED
    runs(store=full.url)
    lines = capsys.readouterr().out.splitlines()
    assert ["removed" in each for each in lines if each.startswith("done")] == [True]
    assert prune(yes=True, store=full.url) == 0  # it finishes what was begun
    assert {"done", "failed"} <= set(tombstone.names(full))


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        ({}, []),
        ({"older_than": "0s"}, ["done", "failed"]),
        ({"older_than": "0s", "state": "failed"}, ["failed"]),
        ({"older_than": "0s", "state": "queued"}, ["fresh"]),
        ({"older_than": "0s", "provider": "runpod"}, []),
        ({"older_than": "0s", "provider": "terminal", "state": "done"}, ["done"]),
    ],
)
def test_old_runs_are_pruned(
    full: Store, capsys: pytest.CaptureFixture[str], words: dict[str, str], gone: list[str]
) -> None:
    assert prune(dry_run=True, store=full.url, **words) == 0
    assert prune(yes=True, store=full.url, **words) == 0
    assert tombstone.names(full) == gone
    out = capsys.readouterr().out
    assert (f"removed {len(gone)} of {len(gone)} runs" if gone else "nothing to remove") in out


def test_what_is_damaged_keeps_no_other(full: Store, capsys: pytest.CaptureFixture[str]) -> None:
    full.put(layout.tombstone_key("gone"), b"{")
    full.put(layout.order_key("failed", 1), b"{")
    words = {"older_than": "0s", "provider": "terminal"}
    assert prune(yes=True, store=full.url, **words) == 0
    assert tombstone.names(full) == ["done", "gone"]
    told = capsys.readouterr().err
    assert "a removal of run gone was cut off cannot be read: _launcher/removed/gone.json" in told


def test_nothing_to_remove_is_an_empty_list(
    full: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prune(yes=True, json=True, store=full.url) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_what_old_machines_wrote_is_pruned(full: Store) -> None:
    rm("failed", yes=True, store=full.url)
    full.put(f"{layout.attempt_prefix('failed', 1)}/log/000001.txt", b"still here")
    full.put(f"{layout.data_folder('failed')}/{'0' * 64}-x", b"of a submit that has no record yet")
    assert prune(yes=True, store=full.url) == 0
    assert list(full.list("failed/")) == [f"{layout.data_folder('failed')}/{'0' * 64}-x"]


@pytest.mark.parametrize("state", ["running", "stopped", "done"])
def test_a_new_run_of_the_name_loses_nothing_to_what_old_machines_wrote(
    full: Store, state: str
) -> None:
    rm("failed", yes=True, store=full.url)
    create_run(full, RunRecord("failed", "smoke", {}, 0, full.now()))
    attempt = Attempt.claim(full, "failed", raise_attempt(full, "failed"))
    attempt.commit(7, b"state", None)
    if state == "done":
        attempt.finish("done")
    if state == "stopped":
        end_attempt(full, "failed", 2, "stopped", "the test says so")
    if state != "running":
        notes.record_outcome(full, "failed", 2, Outcome(0, "so it is", full.now(), 7))
    runs(store=full.url)  # which seals it if it is done
    before = list(full.list("failed/"))
    notes.write_heartbeat(full, "failed", 1, Heartbeat(0.0, 8, 10))
    assert prune(yes=True, store=full.url) == 0
    assert list(full.list("failed/")) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"state": "runing"}, "--state 'runing' is no state of runs to remove"),
        ({"older_than": "soon"}, "--older-than is 'soon', but must be a duration such as 90s"),
        ({"provider": "runpot"}, r"there is no provider 'runpot'; did you mean 'runpod'\?"),
    ],
)
def test_bad_words_for_prune(full: Store, words: dict[str, str], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        prune(store=full.url, **words)
