"""Copies while a run trains: each in its turn, whatever fails, and none that is never whole."""

import errno
import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimir.notebook import copier, drive
from mimir.notebook.archive import Mark
from mimir.notebook.copier import Copier
from mimir.runs.status import read_head
from mimir.runs.store import Store, open_store
from tests.notebook.conftest import There, commit
from tests.waiting import LIMIT, wait_for


def test_a_copy_that_was_killed_is_tidied_away(store: Store, there: There) -> None:
    there.path.mkdir(parents=True)
    (there.path / "copying.0123abcd.part").write_bytes(b"half")
    with Copier(there.folder, store, there.said.append):
        assert os.listdir(there.path) == [] or there.steps()
    assert not [*there.path.glob("*.part")]


def test_a_full_drive_is_said_and_training_goes_on(
    store: Store, there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = there.folder.add(store)[0]
    there.now += 1e4
    commit(store)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(drive, "_sync", full)
    monkeypatch.setattr(copier, "COPY_POLL", 0.01)
    said: list[str] = []
    with Copier(there.folder, store, said.append) as copies:
        wait_for(lambda: any("NOT copied" in line for line in said))
        assert "No space left on device" in said[1]
        assert "Training goes on" in said[1]
        assert os.listdir(there.path) == [older.name]
        commit(store)  # training does
        said_last = copies.finish()
        assert "NOT on Drive, only on this machine" in said_last
        assert f"the newest file there is of step {older.step}" in said_last
    monkeypatch.undo()
    with Copier(there.folder, store, said.append) as copies:
        assert copies.finish().startswith("On Drive: step")
    assert there.steps()[0] == read_head(store, "run").step


def test_each_commit_is_copied_once(
    store: Store, there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copier, "COPY_POLL", 0.01)
    with Copier(there.folder, store, there.said.append) as copies:
        wait_for(lambda: len(there.steps()) == 1)
        commit(store)

        def newest_is_there() -> bool:
            there.now += 1e4  # the one before is at Google
            return there.steps()[0] == read_head(store, "run").step

        wait_for(newest_is_there)
        copies.finish()
        before = there.folder.archives()
        copies.finish()
    assert there.folder.archives() == before


@pytest.mark.parametrize("every", [2, 120, 290, 600])
def test_google_has_a_whole_file_however_fast_commits_come(
    there: There, monkeypatch: pytest.MonkeyPatch, every: int, tmp_path: Path
) -> None:
    """A large preset's, whose 441.5 MB Google takes in 294 s, one file after another.

    every: seconds between commits. A byte stands for a megabyte.
    """
    rate, step, began, whole, sent, said = 1.5, 1, there.now, set[Mark](), 0.0, list[str]()
    monkeypatch.setattr(drive, "UPLOAD_RATE", rate)
    monkeypatch.setattr(copier, "COPY_POLL", LIMIT)  # the test looks

    def write(store: Store, run: str, path: Path) -> Mark:
        content = b"%441d" % step
        path.write_bytes(content)
        return Mark(step, 1, step, hashlib.sha256(content).hexdigest(), run)

    def head(store: Store, run: str) -> SimpleNamespace:
        newest = SimpleNamespace(step=step, key=str(step))
        return SimpleNamespace(newest=lambda: newest, state="running", model=None, seq=step)

    monkeypatch.setattr(drive, "write", write)
    monkeypatch.setattr(copier, "find_head", head)
    with Copier(there.folder, open_store(tmp_path.as_uri()), said.append) as copies:
        for _ in range(400):
            there.now += 2
            sent += 2 * rate
            for mark in sorted(set(there.folder.archives()) - whole):
                if sent >= 441:
                    sent -= 441
                    whole.add(mark)
            if not set(there.folder.archives()) - whole:
                sent = 0.0
            step = int(there.now - began) // every + 1
            copies._look()
            there_now = set(there.folder.archives()) & whole
            assert there_now or there.now <= began + 2 + 294
            assert not said[-1].endswith("by now") or max(there.folder.archives()) in whole
        assert "keep this session until then" in copies.finish()
    assert there.steps()[0] == step
    assert set(there.folder.archives()) & whole
