"""Commits in a folder, as Drive is one: whole ones are taken, others are said and passed over."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mimir.errors import BadInput, Corrupt, StoreError
from mimir.notebook import archive, drive
from mimir.notebook.archive import Mark
from mimir.notebook.cells import Session
from mimir.notebook.copier import Copier
from mimir.notebook.recall import check_code, is_on_drive, recall
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.status import derive, read_head
from mimir.runs.store import Store, open_store
from tests import ROOT
from tests.e2e import jobs
from tests.notebook.conftest import There, commit
from tests.waiting import LIMIT


def copies(store: Store, there: There, count: int) -> list[Mark]:
    """So many commits, each copied and long on Drive when the next one comes."""
    marks = []
    for number in range(count):
        if number:
            commit(store)
        marks.append(there.folder.add(store)[0])
        there.now += 1e4
    return marks


def test_the_two_newest_stay(store: Store, there: There) -> None:
    marks = copies(store, there, 3)
    assert there.folder.archives() == [marks[2], marks[1], marks[0]]  # the last is on its way
    commit(store)
    there.folder.add(store)
    assert marks[0] not in there.folder.archives()
    assert marks[1] in there.folder.archives()
    assert not there.said
    assert sorted(os.listdir(there.path)) == sorted(mark.name for mark in there.folder.archives())


def test_what_may_be_on_its_way_counts_for_nothing(store: Store, there: There) -> None:
    first = there.folder.add(store)[0]
    for _ in range(3):  # at the same moment
        commit(store)
        there.folder.add(store)
    assert first in there.folder.archives()
    assert len(there.steps()) == 4


@pytest.mark.parametrize("damage", [
    lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
])  # fmt: skip
def test_a_damaged_newest_one_is_passed_over(
    store: Store, there: There, damage: Callable[[Path], object]
) -> None:
    older, newer = copies(store, there, 2)
    damage(there.path / newer.name)
    found = there.opened().newest_whole()
    assert found is not None
    assert found.mark == older
    assert re_joined(there.said).startswith(f"the copy of step {newer.step} on Drive cannot be")
    assert f"going on from the one before it, of step {older.step}" in there.said[-1]
    damage(there.path / older.name)
    with pytest.raises(Corrupt, match="none of the 2 copies"):
        there.opened().newest_whole()


def re_joined(lines: list[str]) -> str:
    return "\n".join(lines)


def test_a_damaged_one_is_not_counted_as_kept(store: Store, there: There) -> None:
    older, newer = copies(store, there, 2)
    (there.path / newer.name).write_bytes(b"")
    there.folder = there.opened()
    found = there.folder.newest_whole()
    assert found is not None
    commit(store)
    there.folder.add(store)
    assert older in there.folder.archives()


def test_a_link_is_not_followed(store: Store, there: There, tmp_path: Path) -> None:
    older, newer = copies(store, there, 2)
    path = there.path / newer.name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    found = there.opened().newest_whole()
    assert found is not None
    assert found.mark == older
    (tmp_path / "precious").write_text("mine")
    (there.path / "copying.00000000.part").symlink_to(tmp_path / "precious")
    there.folder.tidy()
    assert (tmp_path / "precious").read_text() == "mine"


def test_of_the_same_step_the_later_commit_counts(store: Store, there: There) -> None:
    first = there.folder.add(store)[0]
    number = raise_attempt(store, "run")
    attempt = Attempt.claim(store, "run", number)
    assert attempt.load_newest(lambda content: content)
    attempt.inherit()
    second = there.folder.add(store)[0]
    assert (first.step, first.attempt) == (second.step, second.attempt - 1)
    found = there.opened().newest_whole()
    assert found is not None
    assert found.mark == second


def test_another_session_is_said_and_left_alone(store: Store, there: There) -> None:
    mark = there.folder.add(store)[0]
    other = Mark(mark.change + 5, mark.attempt + 1, mark.step + 9, "0" * 64, "run")
    (there.path / other.name).write_bytes(b"theirs")
    for _ in range(3):
        commit(store)
        there.folder.add(store)
        there.now += 1e4
    assert len([line for line in there.said if "ANOTHER SESSION" in line]) == 1
    assert (there.path / other.name).read_bytes() == b"theirs"


@pytest.fixture
def session(tmp_path: Path) -> Callable[[int], Session]:
    """A session on a machine of its own, by its number."""

    def begun(number: int) -> Session:
        folder = tmp_path / f"machine-{number}"
        options = " ".join(f"--{name} {value}" for name, value in jobs.TINY.items())
        url = (folder / "store").as_uri()
        return Session(url, "run", "smoke", options, folder / "session", tmp_path / "drive")

    return begun


def test_what_a_new_session_takes(
    store: Store, there: There, session: Callable[[int], Session],
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    first = session(1)
    recall(first)
    assert "Drive has no commit of run run yet" in capsys.readouterr().out
    there.path.mkdir(parents=True)
    (there.path / "holiday.jpg").write_bytes(b"picture")
    mark = there.folder.add(store)[0]
    recall(first)
    out = capsys.readouterr().out
    assert "'holiday.jpg' is no copy of this run's commits: it is left alone" in out
    assert "ONE session at a time" in out
    assert f"Taken from Drive: run run at step {mark.step}" in out
    opened = first.opened()
    assert derive(opened, "run", opened.now()).state == "interrupted"
    recall(first)
    assert f"This machine has the run already, at step {mark.step}" in capsys.readouterr().out
    commit(store)
    there.folder.add(store)
    with pytest.raises(BadInput, match="delete this runtime, then press Run all"):
        recall(first)
    (there.path / there.folder.archives()[0].name).write_bytes(b"")
    with pytest.raises(BadInput, match="no file of it is whole"):
        recall(first)
    (tmp_path / "other.whl").write_bytes(b"x")
    check_code(first, tmp_path / "other.whl")  # this run was begun without code


def test_new_work_counts_for_more_than_a_file_that_was_not_whole(
    store: Store, there: There, session: Callable[[int], Session]
) -> None:
    there.folder.add(store)
    second, third, fourth = (session(number) for number in (2, 3, 4))
    recall(second)
    jobs.train(second.opened(), "run", 6)
    late = there.path / there.opened().add(second.opened())[0].name
    content = late.read_bytes()
    late.write_bytes(b"")  # the session ended before Google had it
    recall(third)
    recall(third)  # Run all once more
    assert not is_on_drive(third)
    jobs.train(third.opened(), "run", 1)
    there.opened().add(third.opened())
    assert is_on_drive(third)
    recall(third)
    late.write_bytes(content)
    recall(fourth)
    assert read_head(fourth.opened(), "run").step == read_head(third.opened(), "run").step


def test_a_recall_that_was_killed_is_repeated(
    store: Store, there: There, session: Callable[[int], Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    there.folder.add(store)
    new = session(1)
    put = type(store).put

    def dies(self: Store, key: str, content: bytes) -> None:
        if key == "run/run.json":
            raise StoreError("killed")
        put(self, key, content)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "put", dies)
        with pytest.raises(StoreError):
            recall(new)
    assert new.status() is None
    recall(new)
    assert read_head(new.opened(), "run").step == read_head(store, "run").step


def test_code_of_another_run(
    there: There, session: Callable[[int], Session], data: Path, tmp_path: Path
) -> None:
    from mimir.notebook import cells

    wheel, new = tmp_path / "mimir_peptides-1-py3-none-any.whl", session(1)
    wheel.write_bytes(b"code")
    cells.begin(new, str(data), wheel)
    beside = there.path / wheel.name
    assert beside.read_bytes() == b"code"
    check_code(new, beside)
    beside.write_bytes(b"evil")
    with pytest.raises(BadInput, match="is not the code that run run was begun with"):
        check_code(new, beside)


def copied(words: list[object], moment: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.notebook.copying", *map(str, words), str(moment)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, capture_output=True,
        check=False, timeout=LIMIT,
    )  # fmt: skip


@pytest.mark.slow
def test_killed_while_copying_it_ends_as_if_undisturbed(
    data: Path, there: There, session: Callable[[int], Session], tmp_path: Path
) -> None:
    calm = open_store((tmp_path / "calm").as_uri())
    jobs.submit(calm, "run", data)
    assert jobs.train(calm, "run")[0]
    here = session(0)
    jobs.submit(here.opened(), "run", data)
    commit(here.opened())
    rng, moments, killed = random.Random(18), 1, 0
    for number in range(1, 12):
        words = [here.store, "run", there.path, here.folder]
        moment = rng.randrange(moments) if number > 1 else -1
        done = copied(words, moment)
        if number == 1:
            moments = int(done.stdout)
            assert moments > 10
        else:
            killed += done.returncode == -signal.SIGKILL
        here = session(number)  # the machine is gone with its store
        recall(here)
        commit(here.opened())
    assert killed == 10
    assert jobs.train(here.opened(), "run")[0]
    jobs.assert_same(here.opened(), "run", "run", calm)
    there.folder = there.opened()
    with Copier(there.folder, here.opened(), there.said.append) as copier:
        assert copier.finish().startswith("On Drive")
    last = session(99)
    recall(last)
    assert derive(last.opened(), "run", last.opened().now()).state == "done"
    assert jobs.model_sha256(last.opened(), "run") == jobs.model_sha256(calm, "run")


def test_an_archive_is_bounded(there: There, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    copies(store, there, 1)
    monkeypatch.setattr(drive, "BIGGEST", 1000)
    with pytest.raises(Corrupt, match="none of the 1 copies"):
        there.opened().newest_whole()
    assert "there is room for 0.0 MB" in there.said[0]
    monkeypatch.undo()
    monkeypatch.setattr(archive, "MOST_OBJECTS", 1)
    with pytest.raises(Corrupt, match="none of the 1 copies"):
        there.opened().newest_whole()
