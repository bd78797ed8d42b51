"""What pull fetches and how it comes to the disk."""

import errno
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.download import Download, collect, write_all
from mimir.errors import BadInput, Corrupt, NotFound
from mimir.runs.archive import pack
from mimir.runs.commit import Attempt, raise_attempt
from mimir.runs.parts import PartWriter
from mimir.runs.store import Store


def begin(what: str, size: int) -> Callable[[int], None]:
    return lambda done: None


def fetch(store: Store) -> Download:
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


DAMAGE = [b"other bytes of another length", b"5ive", None]
"""What lies where a checkpoint was; None: nothing."""


def damage(path: Path, content: bytes | None) -> None:
    path.unlink()
    if content is not None:
        path.write_bytes(content)


@pytest.mark.parametrize("content", DAMAGE)
def test_a_damaged_checkpoint_gives_way_to_the_one_before_aloud(
    store: Store, attempt: Attempt, tmp_path: Path, content: bytes | None
) -> None:
    attempt.commit(4, b"four", 1.0)
    damage(tmp_path / "store" / attempt.commit(5, b"five", 1.0).key, content)
    gift = fetch(store)
    assert (gift.step, gift.files["checkpoint-4.safetensors"]) == (4, b"four")
    (warning,) = gift.warnings
    assert "checkpoint of step 5 cannot be used" in warning


@pytest.mark.parametrize("content", DAMAGE)
def test_nothing_but_damaged_checkpoints(
    store: Store, attempt: Attempt, tmp_path: Path, content: bytes | None
) -> None:
    for step in (4, 5):
        damage(tmp_path / "store" / attempt.commit(step, b"five", 1.0).key, content)
    with pytest.raises(Corrupt, match=r"none of the 2 checkpoints of run run .* of step 5"):
        fetch(store)


@pytest.mark.parametrize("content", DAMAGE)
def test_a_damaged_model(
    store: Store, attempt: Attempt, tmp_path: Path, content: bytes | None
) -> None:
    model = attempt.put_model("model.tar", pack({"model.safetensors": b"w"}))
    attempt.finish("done", model=model)
    damage(tmp_path / "store" / model.key, content)
    with pytest.raises(Corrupt, match="sample --run run"):
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
