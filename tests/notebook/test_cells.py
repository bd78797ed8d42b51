"""What the notebook's cells call; tests/notebook runs the cells themselves."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mimir.errors import BadInput, Interrupted, StoreError
from mimir.notebook import cells, shown
from mimir.notebook.cells import Session
from mimir.notebook.checklist import checklist
from mimir.notebook.recall import is_on_drive
from mimir.runs import machine, notes
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.file_store import FileStore
from mimir.runs.machine import Machine
from mimir.runs.notes import Heartbeat
from mimir.runs.status import derive
from mimir.runs.store import open_store
from tests.e2e import jobs
from tests.notebook.test_live import Shown
from tests.runs.ledger import beaten


@pytest.fixture
def session(tmp_path: Path) -> Session:
    url = (tmp_path / "store").as_uri()
    options = " ".join(f"--{name} {value}" for name, value in jobs.TINY.items())
    return Session(url, "run", "smoke", options, tmp_path / "session")


@pytest.fixture
def store(session: Session) -> FileStore:
    store = open_store(session.store)
    assert isinstance(store, FileStore)
    return store


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(jobs.write_data(tmp_path / "data.csv", 60))


@pytest.mark.parametrize(("options", "settings"), [
    ("", {}),
    ("--epochs 2 --lr=3e-4", {"epochs": 2, "lr": "3e-4"}),
    ("--compile off --log-every 5", {"compile": False, "log-every": 5}),
])  # fmt: skip
def test_options(session: Session, options: str, settings: dict[str, Any]) -> None:
    assert replace(session, options=options).settings() == settings


@pytest.mark.parametrize(("field", "value", "words"), [
    ("run", "My Run", "run name 'My Run' is not allowed"),
    ("preset", "smal", "did you mean 'small'?"),
    ("options", "--epochs", "must be pairs"),
    ("options", "epochs 2", "must be pairs"),
    ("options", "--epoch 2", "did you mean 'epochs'?"),
])  # fmt: skip
def test_a_form_that_is_wrong(session: Session, field: str, value: str, words: str) -> None:
    with pytest.raises(BadInput, match=words.replace("?", r"\?")):
        replace(session, **{field: value})


def test_a_run_that_exists_needs_no_data(session: Session, data: str, tmp_path: Path) -> None:
    assert session.status() is None
    code = tmp_path / "mimir_peptides-0.1.0-py3-none-any.whl"
    code.write_bytes(b"wheel")
    record = cells.begin(session, data, code)
    assert record.code is not None  # which the next session takes from the store
    assert cells.begin(session, "", None) == record
    other = replace(session, options=session.options + " --lr 1e-5")
    with pytest.raises(BadInput, match=r"run run is in .* with other settings"):
        other.status()
    assert session.fetch(record.code.key).read_bytes() == b"wheel"


def beat(store: FileStore, age: float) -> None:
    beaten(store, "run", 1, Heartbeat(1.0, 5, 50, interval_s=5.0), age)


def begun(store: FileStore, **machine: Any) -> None:
    number = raise_attempt(store, "run")
    Attempt.claim(store, "run", number)
    notes.record_machine(store, "run", number, Machine(**{"started": time.time(), **machine}))


def free(session: Session, store: FileStore) -> None:
    cells._must_be_free(session, store, derive(store, "run", store.now()))


def test_another_machine_that_works_is_left_alone(
    session: Session, store: FileStore, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells.begin(session, data, None)
    free(session, store)  # nobody has begun
    begun(store, provider="runpod")
    beat(store, 1.0)
    monkeypatch.setattr(time, "sleep", lambda seconds: beat(store, 0.0))
    with pytest.raises(BadInput, match=r"trained by runpod \(attempt 1\): let it, stop it"):
        free(session, store)


def test_another_machine_that_is_silent_is_replaced(
    session: Session, store: FileStore, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells.begin(session, data, None)
    begun(store, provider="notebook", host="another")
    beat(store, 21.0)
    slept, now = list[float](), 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now + sum(slept))
    monkeypatch.setattr(time, "sleep", slept.append)
    free(session, store)
    assert cells.LOOK_FOR <= sum(slept) < cells.LOOK_FOR + 1


def test_a_machine_that_never_began(
    session: Session, store: FileStore, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells.begin(session, data, None)
    begun(store, provider="runpod", started=time.time() - machine.BEGIN_WITHIN - 1)
    free(session, store)
    begun(store, provider="runpod", started=time.time() - machine.BEGIN_WITHIN + 300)
    monkeypatch.setattr(cells, "TAKE_OVER_TIMEOUT", 0.0)
    with pytest.raises(BadInput, match="trained by runpod"):
        free(session, store)
    begun(store, provider="notebook", host="another", started=time.time() - 300)
    free(session, store)


def test_a_worker_of_this_machine(
    session: Session, store: FileStore, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells.begin(session, data, None)
    host = os.uname().nodename
    begun(store, provider="notebook", host=host, pid=os.getpid())
    beat(store, 0.0)
    free(session, store)  # this process is no worker of the run: it is gone
    monkeypatch.setattr(cells, "_works", lambda pid, run: True)
    monkeypatch.setattr(cells, "TAKE_OVER_TIMEOUT", 0.0)
    with pytest.raises(BadInput, match="trained by another notebook of this machine"):
        free(session, store)


def test_a_run_that_failed_is_not_tried_by_itself(
    session: Session, store: FileStore, data: str
) -> None:
    cells.begin(session, data, None)
    end_attempt(store, "run", raise_attempt(store, "run"), "failed", "NaN")
    with pytest.raises(BadInput, match=r"has failed \(NaN\): choose another run_name"):
        cells.train(session, screen=Shown())


class Child:
    """Plays the worker's process."""

    def __init__(self, code: int, lines: bytes, *, patient: bool = False) -> None:
        read, write = os.pipe()
        os.write(write, lines)
        os.close(write)
        self.stdout, self.returncode, self.asked = os.fdopen(read, "rb"), code, 0
        self.pid = 4711
        self._looks = 3 if patient else 0

    def poll(self) -> int | None:
        self._looks -= 1
        return self.returncode if self._looks < 0 else None

    def terminate(self) -> None:
        self.asked += 1

    def wait(self) -> int:
        assert self.asked, "nobody asked it to end"
        return self.returncode


def test_an_interrupted_attempt_says_how_to_go_on(
    session: Session, store: FileStore, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells.begin(session, data, None)
    child = Child(75, b"training\nstopped by SIGTERM; committed at step 7\n", patient=True)
    monkeypatch.setattr(cells, "_start", lambda *words: child)
    pressed = [True, True]  # the stop button, twice

    def slept(seconds: float) -> None:
        if pressed and pressed.pop():
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", slept)
    shown = Shown()
    with pytest.raises(Interrupted, match="committed at step 7; Run all goes on from there"):
        cells.train(session, screen=shown)
    assert "training" in shown.pages[-1]
    assert child.asked == 1
    assert derive(store, "run", store.now()).attempt == 1


def test_a_cell_that_fails_copies_the_last_commit(
    session: Session, store: FileStore, data: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    session = replace(session, keep=tmp_path / "drive")
    jobs.submit(store, "run", Path(data))
    jobs.train(store, "run", 2)
    child = Child(75, b"")
    before = derive(store, "run", store.now()).committed_step
    ended = child.wait

    def wait() -> int:
        jobs.train(store, "run", 2)  # the worker's last commit
        return ended()

    def fails(*words: object) -> None:
        raise StoreError("no answer")

    monkeypatch.setattr(child, "wait", wait)
    monkeypatch.setattr(cells, "_start", lambda *words: child)
    monkeypatch.setattr(cells, "_settle", fails)
    with pytest.raises(StoreError, match="no answer"):
        cells.train(session, take_over=True, screen=Shown())
    assert "On Drive: step" in capsys.readouterr().out
    assert derive(store, "run", store.now()).committed_step > before
    assert is_on_drive(session)


def test_what_drive_had_no_room_for_is_copied_by_run_all(
    session: Session, store: FileStore, data: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    session = replace(session, keep=tmp_path / "drive")
    jobs.submit(store, "run", Path(data))
    assert jobs.train(store, "run")[0]
    (tmp_path / "drive").write_text("in the way")
    cells.train(session, screen=Shown())
    assert "The last commit is NOT on Drive" in capsys.readouterr().out
    (tmp_path / "drive").unlink()
    cells.train(session, screen=Shown())
    assert "On Drive: step" in capsys.readouterr().out
    assert is_on_drive(session)
    cells.train(session, screen=Shown())
    assert "Drive" not in capsys.readouterr().out


@pytest.mark.parametrize(("checks", "words"), [
    ({"memory": "fail"}, "this machine fails on memory: seen"),
    ({"memory": "fail", "forecast": "fail"}, "fails on memory"),
    ({"forecast": "fail"}, ""),
    ({"memory": "warn"}, ""),
])  # fmt: skip
def test_what_a_preflight_stops(
    session: Session, data: str, checks: dict[str, str], words: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    report = {"checks": [{"name": n, "status": s, "seen": "seen"} for n, s in checks.items()]}

    def played(*words: str, what: str) -> shown.Done:
        assert words[words.index("--limit-hours") + 1] == "9.0"
        Path(words[words.index("--out") + 1]).write_text(json.dumps(report))
        return shown.Done(78, "the table", "")

    monkeypatch.setattr(shown, "command", played)
    if words:
        with pytest.raises(BadInput, match=words):
            cells.check(session, data, 9.0)
    else:
        assert cells.check(session, data, 9.0) == report
    out = capsys.readouterr().out
    assert "the table" in out
    assert ("That is no obstacle" in out) == (checks == {"forecast": "fail"})


def test_a_preflight_that_says_nothing(
    session: Session, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = shown.Done(78, "", "python -m mimir: batch is 8, but …")
    monkeypatch.setattr(shown, "command", lambda *words, **more: done)
    with pytest.raises(BadInput, match="could not be made: python -m mimir: batch is 8"):
        cells.check(session, data, 9.0)


def test_the_checklist_of_a_run_that_has_not_begun(session: Session, data: str) -> None:
    cells.begin(session, data, None)
    ticks = [line[:3] for line in checklist(session, None).splitlines()]
    assert ticks == ["[x]"] + ["[ ]"] * 6
