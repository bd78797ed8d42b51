"""What pull fetches and how it comes to the disk."""

import errno
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.download import Gift, collect, write_all
from mimir.errors import BadInput, Corrupt, NotFound
from mimir.runs.archive import pack
from mimir.runs.commit import Attempt, raise_attempt
from mimir.runs.parts import PartWriter
from mimir.runs.store import Store


def begin(what: str, size: int) -> Callable[[int], None]:
    return lambda done: None


def fetch(store: Store) -> Gift:
    return collect(store, "run", begin)


@pytest.fixture
def attempt(store: Store) -> Attempt:
    raise_attempt(store, "run")
    attempt = Attempt.claim(store, "run", 1)
    PartWriter(store, "run/a0001", "log").flush("hello\n")
    PartWriter(store, "run/a0001", "metrics").flush('{"step": 1, "loss": 2.5}\n')
    return attempt


def test_a_finished_run(store: Store, attempt: Attempt) -> None:
    model = attempt.put_model("model.tar", pack({"model.safetensors": b"w", "metrics.jsonl": b""}))
    attempt.finish("done", model=model)
    gift = fetch(store)
    assert gift.finished
    assert gift.files["model.safetensors"] == b"w"
    assert json.loads(gift.files["metrics.jsonl"]) == {"step": 1, "loss": 2.5}
    assert gift.files["run.log"] == b"=== attempt 1\nhello\n"
    assert json.loads(gift.files["run.json"])["name"] == "run"


def test_an_unfinished_run(store: Store, attempt: Attempt) -> None:
    attempt.commit(5, b"five", 1.0)
    attempt.commit(9, b"nine", 2.0)
    gift = fetch(store)
    assert not gift.finished
    assert gift.files["checkpoint-9.safetensors"] == b"nine"


def test_a_run_without_a_checkpoint(store: Store) -> None:
    assert sorted(fetch(store).files) == ["metrics.jsonl", "run.json", "run.log"]


def test_a_checkpoint_that_is_retired_meanwhile(
    store: Store, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = attempt.commit(5, b"five", 1.0)
    real = type(store).get

    def get(self: Store, key: str, **options: object) -> bytes:
        if key == old.key:
            attempt.commit(6, b"six", 1.0)
            raise NotFound("retired")
        return real(self, key, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(type(store), "get", get)
    assert fetch(store).files["checkpoint-6.safetensors"] == b"six"


@pytest.mark.parametrize("content", [b"other bytes of another length", b"5ive"])
def test_damaged_weights(store: Store, attempt: Attempt, tmp_path: Path, content: bytes) -> None:
    kept = attempt.commit(5, b"five", 1.0)
    (tmp_path / "store" / kept.key).write_bytes(content)
    with pytest.raises(Corrupt):
        fetch(store)


def test_an_evil_archive_leaves_nothing(store: Store, attempt: Attempt, tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("model.safetensors", "../../evil"):
            tar.addfile(tarfile.TarInfo(name))
    attempt.finish("done", model=attempt.put_model("model.tar", out.getvalue()))
    with pytest.raises(Corrupt, match="evil"):
        fetch(store)


def test_files_replace_older_ones(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    write_all(out, {"x": b"old", "deep/y": b"1"})
    write_all(out, {"x": b"new", "deep/y": b"2"})
    assert (out / "x").read_bytes() == b"new"
    assert (out / "deep" / "y").read_bytes() == b"2"
    assert sorted(path.name for path in out.iterdir()) == ["deep", "x"]


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_all(tmp_path, {"a": b"old", "b": b"old"})
    calls = []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match="free some space"):
        write_all(tmp_path, {"a": b"new", "b": b"new"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a": b"old",
        "b": b"old",
    }


def test_out_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(BadInput, match="--out"):
        write_all(tmp_path / "out", {"x": b""})
