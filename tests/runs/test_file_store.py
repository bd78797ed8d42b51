"""What only a file store can do wrong: disks that are full, closed or cut off half-way."""

import errno
import fcntl
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimir.errors import Conflict, StoreDenied, StoreError, StoreUnfit
from mimir.runs import file_store
from mimir.runs.file_store import FileStore
from mimir.runs.store import Versioned


@pytest.fixture
def folder(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def _failing(number: int):
    def fail(*_: object, **__: object):
        raise OSError(number, os.strerror(number))

    return fail


def _temporaries(store: FileStore) -> list[Path]:
    return list((store.root / ".mimir" / "tmp").iterdir())


def test_a_body_that_comes_back_is_another_version(folder: FileStore) -> None:
    first = folder.put_if_absent("run/HEAD", b"A")
    second = folder.compare_and_swap("run/HEAD", b"B", first)
    third = folder.compare_and_swap("run/HEAD", b"A", second)
    assert len({first, second, third}) == 3
    with pytest.raises(Conflict):
        folder.compare_and_swap("run/HEAD", b"C", first)


def test_a_version_does_not_survive_delete_and_create(folder: FileStore) -> None:
    first = folder.put_if_absent("run/HEAD", b"A")
    folder.delete("run/HEAD")
    folder.put_if_absent("run/HEAD", b"A")
    with pytest.raises(Conflict):
        folder.compare_and_swap("run/HEAD", b"B", first)


def test_a_change_by_hand_is_noticed(folder: FileStore) -> None:
    version = folder.put_if_absent("run/HEAD", b"A")
    (folder.root / "run" / "HEAD").write_bytes(b"edited")
    with pytest.raises(Conflict):
        folder.compare_and_swap("run/HEAD", b"B", version)


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_disk_full_leaves_the_old_bytes_and_no_rest(folder, monkeypatch, call: str) -> None:
    version = folder.put_if_absent("run/HEAD", b"old")
    monkeypatch.setattr(file_store.os, call, _failing(errno.ENOSPC))
    with pytest.raises(StoreError, match="free some space"):
        folder.put_content("run/content", b"new")
    with pytest.raises(StoreError, match="free some space"):
        folder.compare_and_swap("run/HEAD", b"new", version)
    monkeypatch.undo()
    assert folder.get("run/HEAD") == b"old"
    assert list(folder.list("")) == ["run/HEAD"]
    assert _temporaries(folder) == []


def refused(folder: FileStore, version: str) -> Versioned:
    """A swap with this version fails; what lies there still."""
    with pytest.raises(Conflict):
        folder.compare_and_swap("run/HEAD", b"new", version)
    found = folder.read("run/HEAD")
    assert found is not None
    assert found.data == b"old"
    return found


def test_a_crash_between_count_and_write_costs_one_more_read(folder, monkeypatch) -> None:
    version = folder.put_if_absent("run/HEAD", b"old")
    monkeypatch.setattr(file_store.os, "rename", _failing(errno.EIO))
    with pytest.raises(StoreError):
        folder.compare_and_swap("run/HEAD", b"new", version)
    monkeypatch.undo()
    found = refused(folder, version)
    folder.compare_and_swap("run/HEAD", b"new", found.version)


def test_a_count_that_a_power_cut_spoilt_costs_one_more_read(folder: FileStore) -> None:
    version = folder.put_if_absent("run/HEAD", b"old")
    (lock,) = (folder.root / ".mimir" / "locks").iterdir()
    for spoilt in (b"\0", b"", b"1\0"):
        lock.write_bytes(spoilt)
        found = refused(folder, version)
    folder.compare_and_swap("run/HEAD", b"new", found.version)


def test_a_disk_that_stores_other_bytes_is_noticed(folder: FileStore, monkeypatch) -> None:
    rename = os.rename

    def spoil(source, target) -> None:
        with open(source, "r+b") as file:
            file.write(b"X")
        rename(source, target)

    monkeypatch.setattr(file_store.os, "rename", spoil)
    with pytest.raises(StoreError, match="other bytes than were written: write it again"):
        folder.put_content("run/content", b"content")
    assert list(folder.list("")) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_no_permission(folder, monkeypatch, number: int) -> None:
    monkeypatch.setattr(file_store.os, "open", _failing(number))
    with pytest.raises(StoreDenied, match="choose another folder"):
        folder.put_content("run/content", b"x")
    with pytest.raises(StoreDenied, match="choose another folder"):
        folder.put_if_absent("run/HEAD", b"x")


def test_a_store_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = FileStore(tmp_path / "file" / "store")
    with pytest.raises(StoreDenied, match="file/store"):
        store.put("run/x", b"x")
    with pytest.raises(StoreDenied):
        store.put_if_absent("run/x", b"x")


def test_a_file_system_without_locks_is_unfit(folder, monkeypatch) -> None:
    monkeypatch.setattr(file_store.fcntl, "flock", _failing(errno.ENOLCK))
    with pytest.raises(StoreUnfit, match="no locks"):
        folder.put_if_absent("run/HEAD", b"x")


def test_only_abandoned_temporaries_are_removed(folder: FileStore) -> None:
    folder.put("run/x", b"x")
    tmp = folder.root / ".mimir" / "tmp"
    (tmp / "abandoned").write_bytes(b"half")
    with (tmp / "in-use").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        FileStore(folder.root).put("run/y", b"y")
        assert [path.name for path in tmp.iterdir()] == ["in-use"]


def test_what_is_hidden_is_no_object(folder: FileStore) -> None:
    folder.put_if_absent("run/HEAD", b"x")
    (folder.root / "run" / ".DS_Store").write_bytes(b"")
    assert list(folder.list("")) == ["run/HEAD"]
    assert list(folder.folders()) == ["run"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO, errno.ENOSPC])
def test_who_may_not_write_is_told_this_computers_time(folder, monkeypatch, number: int) -> None:
    monkeypatch.setattr(file_store, "time", SimpleNamespace(time=lambda: 5.0))
    assert folder.now() == 5.0
    assert not folder.root.exists(), "who looks makes no store"
    folder.put("run/x", b"1")
    assert folder.now() > 5.0
    assert _temporaries(folder) == []
    monkeypatch.setattr(folder, "_temporary", _failing(number))
    if number in (errno.EACCES, errno.EROFS):
        assert folder.now() == 5.0
    else:  # a disk that is full or broken is no reason to guess
        with pytest.raises(StoreError):
            folder.now()
