"""What only a file store can do wrong: disks that are full, closed or cut off half-way."""

import errno
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimir.errors import Conflict, StoreDenied, StoreError, StoreUnfit
from mimir.runs import file_folder, file_names, file_store
from mimir.runs.file_store import FileStore
from tests.runs.conftest import without_links


@pytest.fixture
def folder(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def _failing(number: int):
    def fail(*_: object, **__: object):
        raise OSError(number, os.strerror(number))

    return fail


def _temporaries(store: FileStore) -> list[Path]:
    return list(store.root.rglob(f"{file_names.TEMPORARY}*"))


def test_a_body_that_comes_back_is_another_version(folder: FileStore) -> None:
    first = folder.put_if_absent("run/HEAD", b"A")
    second = folder.compare_and_swap("run/HEAD", b"B", first)
    third = folder.compare_and_swap("run/HEAD", b"A", second)
    assert len({first, second, third}) == 3
    with pytest.raises(Conflict):
        folder.compare_and_swap("run/HEAD", b"C", first)


def test_a_change_by_hand_is_noticed(folder: FileStore) -> None:
    version = folder.put_if_absent("run/HEAD", b"A")
    for body in (b"edited", b"edited again"):
        (folder.root / "run" / "HEAD").write_bytes(body)
        with pytest.raises(Conflict):
            folder.compare_and_swap("run/HEAD", b"B", version)
        found = folder.read("run/HEAD")
        assert found is not None
        assert found.data == body
        version = folder.compare_and_swap("run/HEAD", b"C", found.version)


def test_people_find_the_newest_version_under_the_objects_name(folder, monkeypatch) -> None:
    version = folder.put_if_absent("run/HEAD", b"A")
    for body in (b"B", b"C"):
        version = folder.compare_and_swap("run/HEAD", body, version)
        assert (folder.root / "run" / "HEAD").read_bytes() == body
    monkeypatch.setattr(file_store.file_names, "replace", _failing(errno.EIO))
    folder.compare_and_swap(
        "run/HEAD", b"D", version
    )  # it has landed, whatever becomes of the copy
    assert folder.get("run/HEAD") == b"D"


@pytest.mark.parametrize("call", ["open", "fsync", "rename"])
def test_disk_full_leaves_the_old_bytes_and_no_rest(folder, monkeypatch, call: str) -> None:
    version = folder.put_if_absent("run/HEAD", b"old")
    without_links(monkeypatch)
    monkeypatch.setattr(file_store.os, call, _failing(errno.ENOSPC))
    with pytest.raises(StoreError, match="free some space"):
        folder.put_content("run/content", b"new")
    with pytest.raises(StoreError, match="free some space"):
        folder.compare_and_swap("run/HEAD", b"new", version)
    monkeypatch.undo()
    assert folder.get("run/HEAD") == b"old"
    assert list(folder.list("")) == ["run/HEAD"]
    assert _temporaries(folder) == []


def test_a_disk_that_stores_other_bytes_is_noticed(folder: FileStore, monkeypatch) -> None:
    rename = os.rename

    def spoil(source, target, **where) -> None:
        with open(os.open(source, os.O_RDWR, dir_fd=where["src_dir_fd"]), "r+b") as file:
            file.write(b"X")
        rename(source, target, **where)

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


def test_a_file_system_that_can_do_neither_is_unfit(folder, monkeypatch) -> None:
    without_links(monkeypatch)
    monkeypatch.setattr(file_names.os, "rename", _failing(errno.ENOSYS))
    with pytest.raises(StoreUnfit, match="lacks what a store needs"):
        folder.put_if_absent("run/HEAD", b"x")
    assert list(folder.list("")) == []
    assert _temporaries(folder) == []


def test_a_file_system_that_cannot_sync_folders_is_told_once(folder, monkeypatch, caplog) -> None:
    fsync = os.fsync

    def files_only(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").resolve().is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(handle)

    monkeypatch.setattr(file_names.os, "fsync", files_only)
    monkeypatch.setattr(file_folder, "_told", set())
    with caplog.at_level(logging.WARNING):
        version = folder.put_if_absent("run/HEAD", b"A")
        folder.compare_and_swap("run/HEAD", b"B", version)
        folder.put_content("run/content", b"x")
    assert folder.get("run/HEAD") == b"B"
    (told,) = caplog.messages
    assert "cannot sync folders: a power cut may take back the last commits" in told
    monkeypatch.setattr(file_names.os, "fsync", _failing(errno.EIO))
    with pytest.raises(StoreError, match="error"):
        folder.put("run/x", b"x")


def test_what_is_hidden_is_no_object(folder: FileStore) -> None:
    folder.put_if_absent("run/HEAD", b"x")
    (folder.root / "run" / ".DS_Store").write_bytes(b"")
    assert list(folder.list("")) == ["run/HEAD"]
    assert list(folder.folders()) == ["run"]


def test_a_users_own_links_are_theirs(tmp_path: Path) -> None:
    (tmp_path / "disk" / "run").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "far").symlink_to(tmp_path / "other")
    store = FileStore(tmp_path / "root")
    for run in ("run", "far"):
        store.put(f"{run}/a0001/x", b"x")
        assert list(store.list(f"{run}/a")) == [f"{run}/a0001/x"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO, errno.ENOSPC])
def test_who_may_not_write_is_told_this_computers_time(folder, monkeypatch, number: int) -> None:
    monkeypatch.setattr(file_store, "time", SimpleNamespace(time=lambda: 5.0))
    assert folder.now() == 5.0
    assert not folder.root.exists(), "who looks makes no store"
    folder.put("run/x", b"1")
    assert folder.now() > 5.0
    assert _temporaries(folder) == []
    monkeypatch.setattr(file_store.os, "open", _failing(number))
    if number in (errno.EACCES, errno.EROFS):
        assert folder.now() == 5.0
    else:  # a disk that is full or broken is no reason to guess
        with pytest.raises(StoreError):
            folder.now()
