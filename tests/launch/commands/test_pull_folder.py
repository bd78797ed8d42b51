"""A pull writes into a folder of its run's own, and replaces nothing else."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from launch.commands.pull_folder import RECORD, Folder
from mimir.errors import BadInput
from mimir.runs.record import RunRecord, read_run
from mimir.runs.store import Store


@pytest.fixture
def record(store: Store) -> RunRecord:
    return read_run(store, "run")


def files_of(record: RunRecord, **more: bytes) -> dict[str, bytes]:
    body = {"name": record.name, "created": record.created, "config_sha256": record.config_sha256}
    return {RECORD: json.dumps(body).encode(), **more}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_replace_those_of_an_earlier_pull(
    store: Store, record: RunRecord, tmp_path: Path
) -> None:
    out = tmp_path / "a" / "b"
    for content in (b"old", b"new"):
        files = files_of(record, x=content)
        Folder(str(out), store, record).write({**files, "deep/y": content})
        assert (out / "x").read_bytes() == (out / "deep" / "y").read_bytes() == content
    (out / "notes.txt").write_text("the user's own")
    Folder(str(out), store, record).write(files_of(record))
    assert names(out) == ["deep", "notes.txt", "run.json", "x"]


def test_another_runs_or_anybodys_folder_is_refused(
    store: Store, record: RunRecord, tmp_path: Path
) -> None:
    others = [
        replace(record, name="other"), replace(record, created=2.0),
        replace(record, config={"a": 1}),
    ]  # fmt: skip
    for number, other in enumerate(others):
        out = tmp_path / f"out{number}"
        out.mkdir()
        (out / RECORD).write_bytes(files_of(other)[RECORD])
        with pytest.raises(BadInput, match=r"holds what is not of run run \(run.json\)"):
            Folder(str(out), store, record)
    for content in (b"", b"[]", b"[" * 100_000, b"\xff"):
        (out / RECORD).write_bytes(content)
        with pytest.raises(BadInput, match="is not of run run"):
            Folder(str(out), store, record)
    (out / RECORD).unlink()
    os.symlink(tmp_path / "elsewhere", out / RECORD)
    with pytest.raises(BadInput, match="is not of run run"):
        Folder(str(out), store, record)


def test_what_comes_meanwhile_is_not_replaced(
    store: Store, record: RunRecord, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    folder = Folder(str(out), store, record)
    out.mkdir()
    (out / ".hidden").write_text("no file of anybody's work")
    Folder(str(out), store, record)
    (out / "thesis.tex").write_text("precious")
    with pytest.raises(BadInput, match=r"\(thesis.tex\)"):
        folder.write(files_of(record))
    assert names(out) == [".hidden", "thesis.tex"]


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "link to a folder"])
def test_what_is_no_plain_file_is_not_replaced(
    store: Store, record: RunRecord, tmp_path: Path, kind: str
) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    Folder(str(out), store, record).write(files_of(record))
    name = "tensorboard/x" if kind == "link to a folder" else "x"
    place = out / ("tensorboard" if kind == "link to a folder" else "x")
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to(elsewhere)
    with pytest.raises(BadInput, match="is not replaced"):
        Folder(str(out), store, record).write({**files_of(record), name: b"new"})
    assert names(elsewhere) == []
    assert names(out) == sorted([RECORD, place.name])


def test_the_store_itself_is_no_folder_for_it(
    store: Store, record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "store")
    monkeypatch.chdir(tmp_path / "store")
    for named in (".", "run", "new", str(tmp_path / "link" / "run"), "../store/run/a0001"):
        with pytest.raises(BadInput, match="is a part of the store itself"):
            Folder(named, store, record)
    Folder("../stored", store, record)


def test_other_words(store: Store, record: RunRecord, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--out is a folder, not -"):
        Folder("-", store, record)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be a folder of files"):
        Folder(str(tmp_path / "file"), store, record)
    assert Folder("~/x", store, record).path == Path.home() / "x"


def test_a_full_disk_changes_nothing(
    store: Store, record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    folder = Folder(str(out), store, record)
    old = files_of(record, a=b"old", b=b"old")
    folder.write(old)
    calls = []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match="free some space"):
        folder.write(files_of(record, a=b"new", b=b"new"))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == old
