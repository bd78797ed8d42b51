"""One commit as one file: what is in it, and what is not taken from one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from launch.commands import lineage
from mimir.errors import BadInput, Corrupt, OtherFormat
from mimir.notebook import archive
from mimir.notebook.archive import Archive, Mark
from mimir.runs import about, joined, layout, parts
from mimir.runs.content import sha256
from mimir.runs.head import Head
from mimir.runs.parts import PartWriter
from mimir.runs.status import derive, read_head
from mimir.runs.store import DOCUMENT, Store, open_store
from mimir.submission import enter
from tests.e2e import jobs

Objects = dict[str, bytes]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A run with several checkpoints, in its second attempt."""
    folder = tmp_path_factory.mktemp("archive")
    opened = open_store((folder / "store").as_uri())
    jobs.submit(opened, "run", jobs.write_data(folder / "data.csv", 60))
    for steps in (3, 4):
        assert not jobs.train(opened, "run", steps)[0]
    return opened


@pytest.fixture
def made(store: Store, tmp_path: Path) -> tuple[Path, Mark]:
    path = tmp_path / "archive"
    return path, archive.write(store, "run", path)


def test_a_name_says_which_commit_it_is(made: tuple[Path, Mark], store: Store) -> None:
    head, (path, mark) = read_head(store, "run"), made
    assert (mark.attempt, mark.change, mark.step) == (2, head.seq, head.step)
    assert mark.sha256 == sha256(path)[0]
    assert Mark.parse(mark.name, "run") == mark
    for name in (mark.name + "x", mark.name.replace(".step-", ".step-0"), f"../{mark.name}"):
        assert Mark.parse(name, "run") is None
    assert Mark.parse(mark.name, "ru") is None


def test_only_the_newest_checkpoint_goes_along(
    made: tuple[Path, Mark], store: Store, tmp_path: Path
) -> None:
    assert len(read_head(store, "run").kept) > 1
    other = open_store((tmp_path / "other").as_uri())
    Archive(*made).install(other)
    head = read_head(other, "run")
    assert head.kept == (read_head(store, "run").newest(),)
    checkpoints = [key for key in other.list("run/") if layout.parse_checkpoint("run", key)]
    assert checkpoints == [head.kept[0].key]
    status = derive(other, "run", other.now())
    assert (status.state, status.committed_step) == ("interrupted", head.step)
    assert jobs.history(other, "run") == jobs.history(store, "run")


def test_what_a_run_begins_with_and_what_is_said_of_it_go_along(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    job, start = lineage.prepared(store, "", {}, "", "run", "")
    origin = enter(store, "second", job, start=start).origin
    assert origin is not None
    assert origin.start is not None
    assert not jobs.train(store, "second", 1)[0]
    about.label(store, "second", {"stage": "trial"})
    path, other = tmp_path / "archive", open_store((tmp_path / "other").as_uri())
    Archive(path, archive.write(store, "second", path)).install(other)
    assert about.read(other, "second").words == "stage=trial"
    begun = other.get(origin.start.key, size=origin.start.size, sha256=origin.start.sha256)
    assert start is not None
    assert begun == start.content


def test_a_long_log_becomes_one_object(
    made: tuple[Path, Mark], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_store((tmp_path / "other").as_uri())
    Archive(*made).install(other)
    writer = PartWriter(other, layout.attempt_prefix("run", 2), "log")
    for number in range(joined.WORTH):
        writer.flush(f"line {number}\n")
    folder = "run/a0002/log/"
    for settled, count in ((1e9, joined.WORTH), (-1.0, 0)):
        monkeypatch.setattr("mimir.notebook.archive.SETTLED", settled)
        monkeypatch.setattr("mimir.runs.joined.SETTLED", settled)
        mark = archive.write(other, "run", tmp_path / "second")
        keys = Archive(tmp_path / "second", mark).keys
        assert len([key for key in keys if key.startswith(folder)]) == count
        assert (layout.joined_key("run", 2, "log") in keys) == (count == 0)
    last = open_store((tmp_path / "last").as_uri())
    Archive(tmp_path / "second", mark).install(last)
    text = "".join(text for _, text in parts.read_all(last, "run", 2, "log"))
    assert text.count("line ") == joined.WORTH


def test_a_run_without_a_checkpoint_is_no_archive(tmp_path: Path) -> None:
    opened = open_store((tmp_path / "store").as_uri())
    jobs.submit(opened, "run", jobs.write_data(tmp_path / "data.csv", 60))
    with pytest.raises(BadInput, match="has no checkpoint yet"):
        archive.write(opened, "run", tmp_path / "archive")


def test_what_would_not_be_taken_is_not_written(tmp_path: Path) -> None:
    """Else a copy would count as one, and the next session could not read it."""
    opened = open_store((tmp_path / "store").as_uri())
    jobs.submit(opened, "run", jobs.write_data(tmp_path / "data.csv", 60), max_steps=2)
    assert jobs.train(opened, "run")[0]
    opened.put(layout.outcome_key("run", 1), bytes(DOCUMENT + 1))
    with pytest.raises(Corrupt, match="outcome"):
        archive.write(opened, "run", tmp_path / "archive")


def head_of(objects: Objects) -> Head:
    return Head.from_bytes(objects["run/HEAD"])


def with_head(change: Callable[[Head], Head]) -> Callable[[Objects], Objects]:
    return lambda objects: {**objects, "run/HEAD": change(head_of(objects)).to_bytes()}


def without(key: Callable[[Objects], str]) -> Callable[[Objects], Objects]:
    return lambda objects: {k: v for k, v in objects.items() if k != key(objects)}


def checkpoint(objects: Objects) -> str:
    return head_of(objects).kept[0].key


@pytest.mark.parametrize(("change", "words"), [
    (lambda o: {**o, "../evil": b"x"}, "illegal key '../evil'"),
    (lambda o: {**o, "/etc/evil": b"x"}, "illegal key '/etc/evil'"),
    (lambda o: {**o, "run/a0001/../../evil": b"x"}, "illegal key"),
    (lambda o: {**o, "other/run.json": b"x"}, "bytes of 'other/run.json'"),
    (lambda o: {**o, "run/a0009/log/000001.txt": b"x"}, "bytes of 'run/a0009"),
    (lambda o: {**o, "run/a0001/log/000009.txt": b"x" * (2 << 20)}, "2097152 bytes of"),
    (lambda o: {**o, checkpoint(o): o[checkpoint(o)] + b"x"}, "bytes of"),
    (lambda o: {**o, checkpoint(o): bytes(len(o[checkpoint(o)]))}, "another SHA-256"),
    (with_head(lambda h: replace(h, step=h.step)), ""),
    (with_head(lambda h: replace(h, seq=h.seq + 1)), "holds another commit"),
    (with_head(lambda h: replace(h, run="other", kept=(), best=None, step=0)), "another run"),
    (with_head(lambda h: replace(h, kept=(replace(h.kept[0], size=1 << 39),))), "at most"),
    (without(lambda o: "run/HEAD"), "has no run/HEAD"),
    (without(lambda o: "run/run.json"), "has no run/run.json"),
    (without(checkpoint), "has no run/a0002/s"),
    (without(lambda o: "run/launcher/a0002/order.json"), "has no run/launcher/a0002/order.json"),
    (lambda o: {**o, "run/run.json": o["run/run.json"].replace(b'"lr":', b'"lx":')}, "edited"),
    (lambda o: {**o, "run/HEAD": b"{" * 100}, "nested"),
])  # fmt: skip
def test_what_is_not_taken(
    made: tuple[Path, Mark], change: Callable[[Objects], Objects], words: str
) -> None:
    path, mark = made
    objects = {k: v.tobytes() for k, v in safetensors.numpy.load_file(path).items()}
    changed = {k: np.frombuffer(v, np.uint8) for k, v in change(objects).items()}
    safetensors.numpy.save_file(changed, path)
    if not words:
        Archive(path, mark)
        return
    with pytest.raises(Corrupt, match=words):
        Archive(path, mark)


@pytest.mark.parametrize("content", [
    b"", b"x" * 100, (1 << 60).to_bytes(8, "little") + b"{}",
    (2).to_bytes(8, "little") + b"{}",
])  # fmt: skip
def test_a_file_of_another_kind(made: tuple[Path, Mark], content: bytes) -> None:
    made[0].write_bytes(content)
    with pytest.raises(Corrupt, match=r"is damaged|has no run/run\.json"):
        Archive(*made)


def test_another_kind_of_tensor(made: tuple[Path, Mark]) -> None:
    safetensors.numpy.save_file({"run/HEAD": np.zeros(3, np.float32)}, made[0])
    with pytest.raises(Corrupt, match="is no bytes"):
        Archive(*made)


def test_another_mimirs_is_said(made: tuple[Path, Mark]) -> None:
    path, mark = made
    objects = safetensors.numpy.load_file(path)
    newer = objects["run/HEAD"].tobytes().replace(b'"format":1', b'"format":9')
    safetensors.numpy.save_file({**objects, "run/HEAD": np.frombuffer(newer, np.uint8)}, path)
    with pytest.raises(OtherFormat, match="newer Mimir"):
        Archive(path, mark)
