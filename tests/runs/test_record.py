import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mimir.errors import BadInput, Corrupt, RunExists, StoreError
from mimir.runs import record
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.head import Head
from mimir.runs.origin import Origin
from mimir.runs.record import RunRecord, create_run, read_run, record_sha256
from mimir.runs.store import Store
from tests.runs.memory import MemoryStore

RECORD = RunRecord("demo", "smoke", {"model": {"width": 64}, "steps": 100}, 7, 1000.0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "train.npz"
    path.write_bytes(b"peptides")
    return path


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "mimir_peptides-0.1.0-py3-none-any.whl"
    path.write_bytes(b"wheel")
    return path


def test_a_run_is_created_with_all_it_needs(store: Store, data: Path, code: Path) -> None:
    made = create_run(store, replace(RECORD, probe={"if_match": "quoted"}), data, code)
    assert read_run(store, "demo") == made
    assert made.data is not None
    assert made.code is not None
    assert made.data.sha256 == hashlib.sha256(b"peptides").hexdigest()
    assert made.data.key == f"demo/data/{made.data.sha256}-train.npz"
    assert made.code.key.endswith(f"-{code.name}")
    assert store.get(made.data.key, size=8, sha256=made.data.sha256) == b"peptides"
    assert list(store.list("demo/")) == sorted(
        [made.data.key, made.code.key, "demo/HEAD", "demo/run.json"]
    )
    assert raise_attempt(store, "demo") == 1


def test_creating_again_returns_what_exists(memory, data: Path, code: Path) -> None:
    made = create_run(memory, RECORD, data, code)
    head = memory.objects["demo/HEAD"]
    code.write_bytes(b"another wheel")
    assert create_run(memory, replace(RECORD, created=2000.0), data, code) == made
    assert memory.objects["demo/HEAD"] == head


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (replace(RECORD, config={"model": {"width": 64}, "steps": 200}), r"config\.steps:"),
        (replace(RECORD, config={"model": {"width": 1}}), r"config\.model, config\.steps:"),
        (replace(RECORD, config={**RECORD.config, "new": None}), r"config\.new:"),
        (replace(RECORD, seed=8), "seed:"),
        (replace(RECORD, preset="small"), "preset:"),
    ],
)
def test_another_configuration_is_refused(memory, data: Path, other: RunRecord, names: str) -> None:
    create_run(memory, RECORD, data)
    before = dict(memory.objects)
    with pytest.raises(RunExists, match=f"another {names}"):
        create_run(memory, other, data)
    assert memory.objects == before


def test_other_data_are_refused(memory, data: Path) -> None:
    create_run(memory, RECORD, data)
    data.write_bytes(b"others")
    with pytest.raises(RunExists, match="another data:"):
        create_run(memory, RECORD, data)


@pytest.mark.parametrize("at", range(3))
def test_a_submission_that_was_cut_off_is_repaired(memory, monkeypatch, data, at: int) -> None:
    calls: list[str] = []

    def cut_off(name: str):
        real = getattr(memory, name)

        def call(key, *rest):
            if len(calls) == at:
                raise StoreError("network down")
            calls.append(key)
            return real(key, *rest)

        return call

    for name in ("put_content", "put_if_absent"):
        monkeypatch.setattr(memory, name, cut_off(name))
    with pytest.raises(StoreError):
        create_run(memory, RECORD, data)
    monkeypatch.undo()
    create_run(memory, RECORD, data)
    assert raise_attempt(memory, "demo") == 1


def test_content_that_is_there_is_not_sent_again(memory, monkeypatch, data: Path) -> None:
    made = create_run(memory, RECORD, data)
    memory.delete("demo/run.json")
    memory.delete("demo/HEAD")
    monkeypatch.setattr(memory, "put_content", lambda *_: pytest.fail("sent again"))
    assert create_run(memory, RECORD, data) == made


def test_a_lost_head_of_a_run_that_trained_is_not_made_anew(memory) -> None:
    create_run(memory, RECORD)
    Attempt.claim(memory, "demo", raise_attempt(memory, "demo")).commit(1, b"x", None)
    memory.delete("demo/HEAD")
    create_run(memory, RECORD)  # what its order remembers takes HEAD's place
    assert "demo/HEAD" not in memory.objects
    memory.delete("demo/launcher/a0001/order.json")
    with pytest.raises(Corrupt, match="HEAD is missing"):
        create_run(memory, RECORD)


def test_a_missing_run_names_its_neighbours(memory) -> None:
    create_run(memory, RECORD)
    with pytest.raises(BadInput, match=r"no run dmo .* did you mean demo"):
        read_run(memory, "dmo")
    memory.put("gone/a0001/log/000001.txt", b"what a machine wrote afterwards")
    with pytest.raises(BadInput, match=r"no run gone .* check the name"):
        read_run(memory, "gone")
    memory.put("_launcher/owner.json", b"")
    memory.put("Launcher/notes.txt", b"")
    with pytest.raises(BadInput, match=r"no run launcher .* check the name and the store"):
        read_run(memory, "launcher")
    with pytest.raises(BadInput, match="check the name and the store"):
        read_run(MemoryStore(), "dmo")


@pytest.mark.parametrize("name", ["Demo", "", "a/b"])
def test_illegal_names(name: str) -> None:
    with pytest.raises(BadInput, match="is not allowed"):
        replace(RECORD, name=name)


def test_records_are_checked() -> None:
    with pytest.raises(BadInput, match="seed -1"):
        replace(RECORD, seed=-1)
    with pytest.raises(BadInput, match="not plain JSON"):
        replace(RECORD, config={"path": Path("x")})
    with pytest.raises(BadInput, match="not plain JSON"):
        replace(RECORD, config={"lr": float("nan")})


def test_missing_files_are_named(memory, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.npz: No such file"):
        create_run(memory, RECORD, tmp_path / "none.npz")
    assert memory.objects == {}


def test_an_edited_or_newer_record_is_refused() -> None:
    value = json.loads(RECORD.to_bytes())
    assert RunRecord.from_bytes(json.dumps(value).encode()) == RECORD
    with pytest.raises(Corrupt, match="edited"):
        RunRecord.from_bytes(json.dumps({**value, "config": {}}).encode())
    with pytest.raises(BadInput, match="newer Mimir"):
        RunRecord.from_bytes(json.dumps({**value, "format": record.FORMAT + 1}).encode())
    with pytest.raises(Corrupt, match="surprise"):
        RunRecord.from_bytes(json.dumps({**value, "surprise": 2}).encode())


def test_head_starts_queued(memory) -> None:
    create_run(memory, RECORD)
    head = Head.from_bytes(memory.objects["demo/HEAD"].data)
    assert (head.attempt, head.state, head.kept, head.step) == (0, "queued", (), 0)


def test_a_record_is_known_by_its_digest(memory: MemoryStore) -> None:
    create_run(memory, RunRecord("demo", "smoke", {}, 0, 1.0))
    sha256 = record_sha256(memory, "demo")
    assert read_run(memory, "demo", sha256).name == "demo"
    create_run(memory, RunRecord("edited", "smoke", {}, 1, 1.0))
    memory.put("demo/run.json", memory.objects["edited/run.json"].data)
    with pytest.raises(Corrupt, match="it was edited"):
        read_run(memory, "demo", sha256)
    with pytest.raises(BadInput, match="there is no run other"):
        record_sha256(memory, "other")


def test_what_a_run_begins_with_is_its_own_copy(store: Store, data: Path, tmp_path: Path) -> None:
    start = tmp_path / "weights.safetensors"
    start.write_bytes(b"weights")
    begun = replace(RECORD, origin=Origin("weights", "other", 30, "1" * 64, "2" * 64))
    made = create_run(store, begun, data, start=start)
    assert made.origin is not None
    assert made.origin.start is not None
    assert made.origin.start.key.startswith(f"demo/start/{hashlib.sha256(b'weights').hexdigest()}-")
    assert store.get(made.origin.start.key) == b"weights"
    assert made.own == (made.data, made.origin.start)
    assert create_run(store, begun, data, start=start) == made
    assert create_run(store, RECORD, data) == made  # nothing else was said
    foreign = replace(made.origin, start=replace(made.origin.start, key="other/a0001/x"))
    for origin, says in (
        (asdict(foreign), "is no start of this run"),
        (asdict(made.origin) | {"start": None}, "names no copy"),
        (asdict(made.origin) | {"kind": "other"}, "must be one of"),
        (asdict(made.origin) | {"sha256": "x"}, "no SHA-256"),
    ):  # fmt: skip
        body = json.loads(made.to_bytes())
        body["origin"] = origin
        with pytest.raises(Corrupt, match=says):
            RunRecord.from_bytes(json.dumps(body).encode())
