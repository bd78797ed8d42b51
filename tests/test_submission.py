import re
from dataclasses import replace
from pathlib import Path

import pytest

from launch.commands import options
from mimir import commands, submission
from mimir.errors import BadInput, RunExists, StoreDenied
from mimir.runs import layout
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.status import derive
from mimir.runs.store import open_store
from mimir.submission import (
    Entry,
    Job,
    check_enterable,
    default_store,
    enter,
    fresh_name,
    prepare,
)
from tests.e2e.jobs import write_data
from tests.runs.memory import CountingStore, MemoryStore

TINY = {"dim": 16, "layers": 1, "heads": 2, "batch": 8}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data.csv", 50)


def test_where_runs_live(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_store() == (Path.home() / ".local/share/mimir/runs").as_uri()
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert default_store() == "file:///somewhere/mimir/runs"
    monkeypatch.setenv("MIMIR_STORE", "s3://bucket/runs")
    assert default_store() == "s3://bucket/runs"


def test_fresh_names_are_legal_and_differ() -> None:
    names = {fresh_name("smoke") for _ in range(20)}
    assert len(names) > 18
    assert all(re.fullmatch(r"smoke-\d{4}-[0-9a-f]{4}", name) for name in names)
    assert fresh_name("My.Own/Pre.Set.yaml").startswith("pre-set-")


def test_a_job_counts_its_steps(data: Path) -> None:
    job = prepare("smoke", {**TINY, "epochs": 3}, str(data))
    assert job.peptides == 50
    per_epoch = job.steps // 3
    assert 4 <= per_epoch <= 6
    assert prepare("smoke", {**TINY, "epochs": 3, "max_steps": 7}, str(data)).steps == 7
    assert prepare("smoke", {**TINY, "epochs": 3, "max_steps": 999}, str(data)).steps == job.steps


def test_a_plan_says_how_often_a_pair_is_used(data: Path) -> None:
    job = replace(prepare("smoke", {}, str(data)), pairs=2106, pairs_in_batch=11, steps=1264)
    said = "each batch holds 11 of the 2,106 pairs; each pair is used about 6.6 times"
    assert job.mix == said


def test_a_packed_file_is_taken_as_it_is_and_a_csv_packed_once(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = prepare("smoke", TINY, str(data))
    assert job.data.is_relative_to(Path.home() / ".cache" / "mimir")
    assert prepare("smoke", TINY, str(job.data)).data == job.data

    def never(*args: object, **more: object) -> None:
        raise AssertionError("packed a second time")

    monkeypatch.setattr("mimir.data.pack.pack", never)
    assert prepare("smoke", TINY, str(data)) == job
    with monkeypatch.context() as newer:
        newer.setattr("mimir.data.peptides.FORMAT", 99)
        with pytest.raises(AssertionError, match="packed a second time"):
            prepare("smoke", TINY, str(data))
    sequences = data.with_name(data.name + ".targets.fasta")
    sequences.write_text(">P1\nACDEFGHIKL\n")
    with pytest.raises(AssertionError, match="packed a second time"):
        prepare("smoke", TINY, str(data))
    sequences.unlink()
    data.write_text(data.read_text() + "ACDEFGHIKL,0,\n")
    with pytest.raises(AssertionError, match="packed a second time"):
        prepare("smoke", TINY, str(data))


def test_without_a_place_for_the_cache(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/no")
    assert prepare("smoke", TINY, str(data)).peptides == 50


@pytest.mark.parametrize(("text", "words"), [
    ("sequence,label\nACDE,0\n", "target"),
    ("", "empty"),
    ("sequence,label,target\nACJE,0,\n", "'J'"),
    ("sequence,label,target\nACD,0,\n", "3"),
    ("sequence,label,target\nACDEFGHIKLMNPQRSTVWYA,0,\n", "21"),
])  # fmt: skip
def test_bad_data(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(BadInput, match=words) as caught:
        prepare("smoke", TINY, str(path))
    assert "\n" not in str(caught.value)
    assert not list((Path.home() / ".cache").rglob("*.safetensors"))


def test_bad_words(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"batch is 64, but .* has only 4[0-9] training peptides"):
        prepare("smoke", {"batch": 64}, str(data))
    with pytest.raises(BadInput, match="there is no data file"):
        prepare("smoke", TINY, str(tmp_path / "no.csv"))
    with pytest.raises(BadInput):
        prepare("smoke", TINY, str(tmp_path / "no.safetensors"))
    (tmp_path / "odd.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(Exception, match=r"odd\.safetensors") as caught:
        prepare("smoke", TINY, str(tmp_path / "odd.safetensors"))
    assert caught.value.exit_code in (75, 78)  # type: ignore[attr-defined]


def job_of(data: Path, **settings: object) -> Job:
    return prepare("smoke", {**TINY, **settings}, str(data))


def test_entering_twice_is_entering_once(data: Path) -> None:
    store = MemoryStore()
    one = enter(store, "run", job_of(data))
    before = dict(store.objects)
    assert enter(store, "run", job_of(data)) == one
    # What a machine chooses for itself does not make another run of it.
    assert enter(store, "run", job_of(data, precision="bf16", checkpoint_steps=3)) == one
    assert store.objects == before
    assert one.config_sha256
    assert one.data is not None
    assert store.get(one.data.key) == job_of(data).data.read_bytes()


def test_a_run_keeps_the_code_that_it_was_submitted_with(data: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    one, two = tmp_path / "mimir-1.whl", tmp_path / "mimir-2.whl"
    one.write_bytes(b"one")
    two.write_bytes(b"two")
    made = enter(store, "run", job_of(data), one)
    assert made.code is not None
    assert made.code.key.endswith("-mimir-1.whl")
    assert store.get(made.code.key, sha256=made.code.sha256) == b"one"
    before = dict(store.objects)
    assert enter(store, "run", job_of(data), two) == made
    assert enter(store, "run", job_of(data)) == made
    assert store.objects == before
    enter(store, "trained-by-hand", job_of(data))
    assert enter(store, "trained-by-hand", job_of(data), two).code is None


def test_a_name_that_is_taken(data: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    enter(store, "run", job_of(data))
    before = dict(store.objects)
    way_out = r"; choose another --name, or go on with it as it is by `resume`$"
    with pytest.raises(RunExists, match=r"with lr 0\.002 \(this command has 0\.5\)" + way_out):
        enter(store, "run", job_of(data, lr=0.5))
    with pytest.raises(RunExists, match=r"with lr 0\.002 \(you gave 0\.5\)" + way_out):
        check_enterable(store, "run", job_of(data, lr=0.5), settings=["lr"])
    other = write_data(tmp_path / "other.csv", 60)
    with pytest.raises(RunExists, match="data"):
        enter(store, "run", job_of(other))
    assert store.objects == before


def test_what_a_name_stands_for_takes_one_reading_of_its_record(data: Path) -> None:
    store = CountingStore()
    job = job_of(data, compile="off")
    assert check_enterable(store, "run", job) == Entry(job.config)
    enter(store, "run", job)
    for other in ("off", "on"):
        store.requests.clear()
        wanted = job_of(data, compile=other)
        entry = check_enterable(store, "run", wanted, settings=["compile"])
        assert (entry.config, entry.known) == (job.config, "run")
        assert len(entry.notes) == (other == "on")
    assert store.requests.count(f"read {layout.record_key('run')}") == 1


def test_what_was_given_comes_first_and_the_preset_is_named(data: Path) -> None:
    store = MemoryStore()
    enter(store, "run", prepare("smoke", {"batch": 8}, str(data)))
    wanted = prepare("small", {"batch": 4, "dim": 8, "heads": 1}, str(data))
    with pytest.raises(RunExists) as raised:
        check_enterable(store, "run", wanted, settings=["dim", "batch", "heads"])
    said, _, rest = str(raised.value).partition(", --preset smoke (this command has small), ")
    assert said.count("(you gave ") == 3
    assert "(this command has" not in said
    assert "(you gave" not in rest
    assert rest.count("(this command has") > 3


def test_a_finished_run_is_trained_on_under_another_name(data: Path) -> None:
    store = MemoryStore()
    enter(store, "run", job_of(data))
    Attempt.claim(store, "run", raise_attempt(store, "run")).finish("done")
    longer = "`python -m launch submit NAME --continue-from run --epochs N`"
    with pytest.raises(RunExists, match=longer) as raised:
        enter(store, "run", job_of(data, lr=0.5))
    assert "resume" not in str(raised.value)
    with pytest.raises(BadInput, match=f"run run is done: .*{longer}"):
        raise_attempt(store, "run")  # what `train` and `resume` do here
    status = derive(store, "run", store.now())
    with pytest.raises(BadInput, match="--continue-from run --epochs N --store file:///s`"):
        options.check_not_done(status, "file:///s")


def test_a_bad_store_is_told_before_the_data_is_packed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimir.data.pack.pack", lambda *a, **k: pytest.fail("packed"))
    monkeypatch.setattr("mimir.checks.child.must_import", lambda name: None)
    (tmp_path / "file").write_text("")
    bad = ("file:///proc/foo/bar", (tmp_path / "file" / "below").as_uri(), "s4://b")
    for url in bad:
        with pytest.raises(BadInput, match="store"):
            commands.train("run", preset="smoke", data=str(data), store=url)
    with pytest.raises(StoreDenied, match="cannot write /proc/foo"):
        open_store("file:///proc/foo").put("run/x", b"")
    submission.check_reachable(open_store((tmp_path / "new" / "store").as_uri()), "run")
    assert not (tmp_path / "new").exists()


def test_a_wrong_name_is_refused_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    store = open_store((tmp_path / "store").as_uri())
    for name in ("", "../x", "a b", "A/B"):
        with pytest.raises(BadInput):
            enter(store, name, job_of(data))
    assert list(store.folders()) == []


def test_no_torch_is_needed() -> None:
    text = Path(submission.__file__).read_text()
    assert "import torch" not in text
