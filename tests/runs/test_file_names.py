"""Names in a folder: taken once, by either way, and temporary ones removed when abandoned."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mimir.errors import StoreError
from mimir.runs import file_names
from mimir.runs.file_folder import Name, open_folder
from mimir.runs.file_store import FileStore
from tests.runs.conftest import name_at, without_links
from tests.waiting import LIMIT

NOW = 2_000_000_000.0


def taken(folder: Path, name: str, body: bytes) -> bool:
    """Whether the name could be taken for this body."""
    with open_folder(folder, ()) as at:
        temporary = file_names.new_temporary(at)
        temporary.path.write_bytes(body)
        try:
            file_names.take(temporary, Name(at, name))
        except FileExistsError:
            assert temporary.path.read_bytes() == body
            temporary.path.unlink()
            return False
        temporary.path.unlink(missing_ok=True)
        return True


def body(path: Path) -> bytes:
    with name_at(path) as name, file_names.open_body(name) as file:
        return file.read()


def collect(top: Path, now: float) -> None:
    with open_folder(top, ()) as folder:
        file_names.collect(folder, now)


@pytest.mark.parametrize("first", ["link", "folder"])
@pytest.mark.parametrize("second", ["link", "folder"])
def test_a_name_is_taken_once_whichever_way(tmp_path: Path, first: str, second: str) -> None:
    for way, wins in ((first, True), (second, False)):
        with pytest.MonkeyPatch.context() as patch:
            if way == "folder":
                without_links(patch)
            assert taken(tmp_path, "name", way.encode()) == wins
    assert body(tmp_path / "name") == first.encode()
    assert os.listdir(tmp_path) == ["name"]


@pytest.mark.parametrize(("call", "landed"), [("link", True), ("rename", True), ("link", False)])
def test_a_lost_answer_is_no_refusal(tmp_path: Path, monkeypatch, call: str, landed: bool) -> None:
    """NFS repeats a request whose answer was lost, and tells what became of the repetition."""
    if call == "rename":
        without_links(monkeypatch)
    real, target = getattr(os, call), tmp_path / "name"

    def lost(source, name, **where) -> None:
        if name == target.name:
            if landed:
                real(source, name, **where)
            raise OSError(errno.EIO, "no answer")
        real(source, name, **where)

    monkeypatch.setattr(file_names.os, call, lost)
    if landed:
        assert taken(tmp_path, "name", b"mine")
        assert body(target) == b"mine"
    else:
        with pytest.raises(OSError, match="no answer"):
            taken(tmp_path, "name", b"mine")
    monkeypatch.setattr(file_names.os, call, real)
    assert taken(tmp_path, "name", b"theirs") != landed


def test_what_is_wrong_with_a_folder_is_no_missing_name(tmp_path: Path, monkeypatch) -> None:
    store = FileStore(tmp_path)
    store.compare_and_swap("run/HEAD", b"B", store.put_if_absent("run/HEAD", b"A"))

    def away(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(file_names.os, "lstat", away)
    with pytest.raises(StoreError, match="cannot read"):
        store.read("run/HEAD")


def _named(place: str, process: int) -> str:
    return f"{file_names.TEMPORARY}{place}-{process}-{'0' * 32}"


def _dead() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait(timeout=LIMIT)
    return child.pid


@pytest.mark.parametrize(
    ("place", "process", "age", "stays"),
    [
        ("here", "dead", 61, False),
        ("here", "dead", 59, True),
        ("here", "dead", -100, True),
        ("here", "parent", 80_000, True),
        ("here", "parent", 90_000, False),
        ("here", "self", 900_000, True),
        ("elsewhere", "dead", 80_000, True),
        ("elsewhere", "dead", 90_000, False),
        ("elsewhere", "self", 90_000, False),
    ],
)
def test_temporaries_go_by_writer_and_age(
    tmp_path: Path, place: str, process: str, age: float, stays: bool
) -> None:
    number = {"dead": _dead, "parent": os.getppid, "self": os.getpid}[process]()
    where = file_names._place() if place == "here" else "f" * 12
    deep = tmp_path / "a0001" / ".x.versions"
    deep.mkdir(parents=True)
    file, folder = deep / _named(where, number), tmp_path / _named(where, number)
    file.write_bytes(b"half")
    folder.mkdir()
    (folder / file_names.BODY).write_bytes(b"half")
    for path in (file, folder):
        os.utime(path, (NOW - age, NOW - age))
    collect(tmp_path, NOW)
    assert (file.exists(), folder.exists()) == (stays, stays)
    assert deep.exists()


@pytest.mark.parametrize("name", ["", "x", "-", "x-y-z", f"{'f' * 12}-9{'9' * 30}-x"])
def test_a_strange_temporary_goes_by_age_alone(tmp_path: Path, name: str) -> None:
    strange = tmp_path / f"{file_names.TEMPORARY}{name}"
    strange.write_bytes(b"")
    os.utime(strange, (NOW - 80_000, NOW - 80_000))
    collect(tmp_path, NOW)
    assert strange.exists()
    collect(tmp_path, NOW + 10_000)
    assert not strange.exists()


def test_the_first_write_below_a_run_collects_there_by_the_folders_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(tmp_path)
    store.put("run/a0001/x", b"x")
    store.put("other/x", b"x")
    left = [tmp_path / run / _named("f" * 12, 1) for run in ("run", "other")]
    for path in left:
        path.write_bytes(b"half")
        os.utime(path, (path.stat().st_mtime - 90_000,) * 2)
    monkeypatch.setattr("time.time", lambda: 0.0)  # this computer's clock takes no part
    again = FileStore(tmp_path)
    again.put("run/a0002/log/1", b"x")
    assert [path.exists() for path in left] == [False, True]
    left[0].write_bytes(b"half")
    os.utime(left[0], (0, 0))
    again.put("run/a0002/log/2", b"x")
    assert left[0].exists()  # looked for once


def test_who_finds_its_temporary_file_collected_writes_again(tmp_path: Path, monkeypatch) -> None:
    """It was stopped for a day, say. Nothing is lost but its own try."""
    store = FileStore(tmp_path)
    version = store.put_if_absent("run/HEAD", b"A")
    fsync = os.fsync

    def collected(handle: int) -> None:
        fsync(handle)
        for path in tmp_path.rglob(f"{file_names.TEMPORARY}*"):
            path.unlink()

    acts = (
        lambda: store.put_content("run/content", b"x"),
        lambda: store.put_if_absent("run/new", b"x"),
        lambda: store.compare_and_swap("run/HEAD", b"B", version),
    )
    for act in acts:
        monkeypatch.setattr(file_names.os, "fsync", collected)
        with pytest.raises(StoreError):
            act()
        monkeypatch.undo()
        assert store.get("run/HEAD") == b"A"
    for act in acts:
        act()
    assert store.get("run/HEAD") == b"B"
