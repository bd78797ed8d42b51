"""What pull fetches, and what it makes of it."""

import json
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launch.commands.pull import pull
from launch.commands.pull_folder import Folder
from launch.report import download
from launch.report.download import Download, collect
from mimir.config import CHECKPOINT_COPIES, CHECKPOINT_FORMAT, MODEL_COPIES, load_preset
from mimir.data.files import from_bytes, to_bytes
from mimir.errors import BadInput, Corrupt, NotFound
from mimir.output import model_object
from mimir.runs import notes
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.execution import Execution
from mimir.runs.notes import Heartbeat
from mimir.runs.parts import PartWriter
from mimir.runs.record import read_run
from mimir.runs.store import Store, open_store
from mimir.submission import enter, prepare
from tests.launch.stand_in import checkpoint_of

WEIGHTS = {"w": np.ones((2, 3), np.float32)}
TOLD = {"format": 2, "best_step": -1}
MODEL = model_object.encode(WEIGHTS, ["ACDEFGHIK", "WYV"])
TEXTS = ["metrics.jsonl", "report.html", "run.json", "run.log", "tensorboard/events"]
"""What is pulled of a run without weights."""
EVIL = "<script>alert(1)</script>\x1b[2J\u202e"


def texts_of(found: Download) -> list[str]:
    return sorted(name.partition(".out.")[0] if "/" in name else name for name in found.files)


def begin(what: str, size: int) -> Callable[[int], None]:
    return lambda done: None


def fetch(store: Store, out: Path | None = None) -> Download:
    record = read_run(store, "run")
    folder = Folder(str(out or Path.home() / "pulled"), store, record)
    return collect(store, record, begin, folder.need)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with a run that has no attempt yet."""
    letters = "ACDEFGHIKLMNPQRSTVWY"
    rows = [f"{letters[i]}{letters[j]}ACDE{letters[-1 - i]},0," for i in range(8) for j in (1, 5)]
    data = tmp_path / "data.csv"
    data.write_text("\n".join(["sequence,label,target", *rows]) + "\n")
    store = open_store((tmp_path / "store").as_uri())
    enter(store, "run", prepare("smoke", {"batch": 4, "dim": 16, "heads": 2}, str(data)))
    return store


@pytest.fixture
def attempt(store: Store) -> Attempt:
    raise_attempt(store, "run")
    attempt = Attempt.claim(store, "run", 1)
    PartWriter(store, "run/a0001", "log").flush("hello \x1b]52;c;x\x07\n")
    PartWriter(store, "run/a0001", "metrics").flush('{"step": 1, "loss": 2.5}\n')
    return attempt


def test_a_finished_run_is_made_into_files_here(store: Store, attempt: Attempt) -> None:
    rows: list[dict[str, Any]] = [
        {"step": 2, "loss": EVIL, "val": 2.5, EVIL: 1, "samples": ["ACDE", "<b>"], "x": [[1]]},
        {"step": 3, "loss": 1e300, "val": True, "norm": None, "samples": ["ACDE"]},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    bad = '{"step": NaN}\n{"step": 4, "val": NaN}\n' + "[" * 9000 + "\n" + '{"step": -1}\n{"st'
    PartWriter(store, "run/a0001", "metrics").flush(text + bad)
    told = Execution("cuda", "bf16", compiled=True, why="<script>&")
    notes.write_heartbeat(store, "run", 1, Heartbeat(0.0, 3, 4, execution=told))
    attempt.finish("done", reason=EVIL, model=attempt.put_model("evil.html", MODEL))
    found = fetch(store)
    assert found.finished
    created = int(read_run(store, "run").created)
    assert sorted(found.files) == [
        "CITATION.bib", "README.md", "config.json", "loss.png", "metrics.jsonl",
        "model.safetensors", "peptides.py", "report.html", "run.json", "run.log", "samples.fasta",
        "targets.safetensors", f"tensorboard/events.out.tfevents.{created}.run", "vocabulary.json",
    ]  # fmt: skip
    assert found.files["model.safetensors"] == MODEL
    assert found.files["samples.fasta"] == b">run_1\nACDEFGHIK\n>run_2\nWYV\n"
    assert [json.loads(row) for row in found.files["metrics.jsonl"].splitlines()] == [
        {"step": 1, "loss": 2.5}, {"step": 2, "val": 2.5},
        {"step": 3, "norm": None, "samples": ["ACDE"]},
    ]  # fmt: skip
    assert found.files["run.log"] == b"=== attempt 1\nhello \\u001b]52;c;x\\u0007\n"
    assert json.loads(found.files["run.json"])["name"] == "run"
    settings, data = json.loads(found.files["config.json"]), read_run(store, "run").data
    assert settings["model"]["dim"] == 16
    assert data is not None
    assert settings["data_sha256"] == data.sha256
    assert json.loads(found.files["vocabulary.json"])["lengths"]["background"][7] > 0
    assert found.files["loss.png"].startswith(b"\x89PNG")
    page = found.files["report.html"].decode()
    assert "default-src &#39;none&#39;" in page
    assert "100% not in the training data, 100% unique" in page
    assert "bf16, compiled, no graphs (&lt;script&gt;&amp;)</td>" in page
    assert "<script" not in page
    # Numbers and checksums of a picture and of an event file may have that byte.
    texts = {n: c for n, c in found.files.items() if not n.endswith(("png", ".run"))}
    assert [n for n, c in texts.items() if b"\x1b" in c] == []
    told = [n for n, c in found.files.items() if b"\x1b]52" in c or b"\x1b[2J" in c]
    assert told == []


def event_numbers(content: bytes) -> list[int]:
    """Lengths of the records of an event file, all of it."""
    lengths = []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        content = content[8 + 4 + length + 4 :]
        lengths.append(length)
    return lengths


def test_two_pulls_make_the_same_files(store: Store, attempt: Attempt) -> None:
    attempt.finish("done", model=attempt.put_model(model_object.FILE, MODEL))
    one, two = fetch(store).files, fetch(store).files
    assert one == two
    (events,) = [content for name, content in one.items() if name.startswith("tensorboard/")]
    assert len(event_numbers(events)) == 3, "version, start, row"
    assert b"loss" in events


def state(store: Store, step: int, **more: Any) -> bytes:
    return checkpoint_of(read_run(store, "run"), step, **more)


def weights_in(found: Download) -> tuple[dict[str, float], int]:
    """One number of each tensor, and the step of the best weights."""
    tensors, record = from_bytes(found.files[model_object.FILE], "it")
    return {name: float(each.flat[0]) for name, each in tensors.items()}, record["best_step"]


@pytest.mark.parametrize(("best_step", "best"), [(8, 4.5), (-1, 9.0)])
def test_an_unfinished_run_is_a_folder_like_any_other(
    store: Store, attempt: Attempt, best_step: int, best: float
) -> None:
    attempt.commit(5, state(store, 5), 1.0)
    attempt.commit(9, state(store, 9, **{"loop.best_step": np.array(best_step)}), 2.0)
    found = fetch(store)
    assert (found.finished, found.step, found.warnings) == (False, 9, ())
    assert found.best_step == best_step
    assert weights_in(found) == ({"w": best, "last.w": 9.0}, best_step)
    assert json.loads(found.files["config.json"])["step"] == 9
    assert {"vocabulary.json", "targets.safetensors", "report.html"} <= found.files.keys()


def test_a_run_without_a_checkpoint(store: Store) -> None:
    found = fetch(store)
    assert (texts_of(found), found.unusable) == (TEXTS[:-1], None)


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("content", [b"other bytes of another length", None])
def test_without_its_data_the_rest_is_there_aloud(
    store: Store, attempt: Attempt, tmp_path: Path, content: bytes | None, done: bool
) -> None:
    attempt.commit(5, state(store, 5), 1.0)
    if done:
        attempt.finish("done", model=attempt.put_model(model_object.FILE, MODEL))
    data = read_run(store, "run").data
    assert data is not None
    damage(tmp_path / "store" / data.key, content)
    found = fetch(store)
    assert (texts_of(found), found.finished, found.warnings) == (TEXTS, done, ())
    assert "the data set of run run cannot be used" in str(found.unusable)
    page = found.files["report.html"]
    assert b"the data set cannot be used" in page
    assert (b"not finished" in page) is not done
    with pytest.raises(Corrupt, match="weights are left out"):
        pull("run", out=str(tmp_path / "out"), store=store.url)
    assert "hello" in (tmp_path / "out" / "run.log").read_text()


def test_a_page_that_cannot_be_made_costs_no_weights(
    store: Store, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt.commit(5, state(store, 5), 1.0)

    def refuse(facts: object) -> bytes:
        raise Corrupt("no page")

    monkeypatch.setattr(download, "page", refuse)
    found = fetch(store)
    assert (found.warnings, found.unusable) == (
        ("report.html and the model card are left out: no page",),
        None,
    )
    assert model_object.FILE in found.files
    assert "report.html" not in found.files


@pytest.mark.parametrize(("best_step", "says"), [(3, "in it are of step 3"), (-1, "the last")])
def test_which_step_the_weights_are_of(
    store: Store, attempt: Attempt, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    best_step: int, says: str,
) -> None:  # fmt: skip
    attempt.commit(9, state(store, 9, **{"loop.best_step": np.array(best_step)}), 1.0)
    pull("run", out=str(tmp_path / "out"), store=store.url)
    told = "".join(capsys.readouterr())
    assert "its checkpoint of step 9" in told
    assert says in told
    pull("run", out=str(tmp_path / "out"), store=store.url, json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["step"], found["best_step"]) == (9, best_step if best_step >= 0 else None)


def test_a_checkpoint_that_is_retired_meanwhile(
    store: Store, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = attempt.commit(5, state(store, 5), 1.0)
    real = type(store).get

    def get(self: Store, key: str, **options: object) -> bytes:
        if key == old.key:
            attempt.commit(6, state(store, 6), 1.0)
            raise NotFound("retired")
        return real(self, key, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(type(store), "get", get)
    assert fetch(store).step == 6


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
    attempt.commit(4, state(store, 4), 1.0)
    damage(tmp_path / "store" / attempt.commit(5, b"five", 1.0).key, content)
    found = fetch(store)
    assert (found.step, weights_in(found)[1]) == (4, 3)
    (warning,) = found.warnings
    assert "checkpoint of step 5 cannot be used" in warning


OTHERS: list[dict[str, Any]] = [
    {"loop.best_step": np.ones(2)}, {"loop.best_step": np.array(1.0)}, {"ema.w": np.array([1])},
]  # fmt: skip


@pytest.mark.parametrize("more", [*OTHERS, None])
def test_a_checkpoint_that_is_whole_and_not_this_runs_gives_way_too(
    store: Store, attempt: Attempt, more: dict[str, Any] | None
) -> None:
    attempt.commit(4, state(store, 4), 1.0)
    record = read_run(store, "run")
    other = replace(record, config={**record.config, "training": {"batch": 8}})
    content = checkpoint_of(other, 5) if more is None else state(store, 5, **more)
    attempt.commit(5, content, 1.0)
    found = fetch(store)
    assert (found.step, len(found.warnings)) == (4, 1)


@pytest.mark.parametrize("number", [CHECKPOINT_FORMAT - 1, CHECKPOINT_FORMAT + 1])
def test_a_checkpoint_of_another_format_gives_way_too(
    store: Store, attempt: Attempt, number: int
) -> None:
    attempt.commit(4, state(store, 4), 1.0)
    attempt.commit(5, checkpoint_of(read_run(store, "run"), 5, number), 1.0)
    found = fetch(store)
    assert found.step == 4
    assert f"has format {number}" in found.warnings[0]


@pytest.mark.parametrize("content", DAMAGE)
def test_nothing_but_damaged_checkpoints(
    store: Store, attempt: Attempt, tmp_path: Path, content: bytes | None
) -> None:
    for step in (4, 5):
        damage(tmp_path / "store" / attempt.commit(step, b"five", 1.0).key, content)
    found = fetch(store)
    assert re.search("none of the 2 checkpoints of run run .* of step 5", str(found.unusable))
    assert texts_of(found) == TEXTS
    assert b"hello" in found.files["run.log"]
    assert b"2.5" in found.files["metrics.jsonl"]


@pytest.mark.parametrize("content", DAMAGE)
def test_a_damaged_model(
    store: Store, attempt: Attempt, tmp_path: Path, content: bytes | None
) -> None:
    model = attempt.put_model(model_object.FILE, MODEL)
    attempt.finish("done", model=model)
    damage(tmp_path / "store" / model.key, content)
    found = fetch(store)
    assert "sample --run run" in str(found.unusable)
    assert texts_of(found) == TEXTS


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"#!/bin/sh\nrm -rf ~\n", "no safetensors file"),
        (b"", "no safetensors file"),
        (to_bytes({"w": np.ones(3, np.float64)}, {**TOLD, "samples": []}), "float32"),
        (to_bytes({}, {**TOLD, "samples": []}), "float32"),
        *((to_bytes(WEIGHTS, {**TOLD, "samples": bad}), "samples") for bad in (
            "ACDE", [EVIL], [["ACDE"]], ["A" * 21], [1], ["ACDE"] * 1025, None, {"a": 1},
        )),
    ],
)  # fmt: skip
def test_a_model_that_is_something_else(
    store: Store, attempt: Attempt, content: bytes, words: str
) -> None:
    attempt.finish("done", model=attempt.put_model(model_object.FILE, content))
    found = fetch(store)
    assert re.search(f"{words}.*sample --run run", str(found.unusable))
    assert texts_of(found) == TEXTS


def test_a_model_of_another_format(store: Store, attempt: Attempt) -> None:
    content = to_bytes(WEIGHTS, {"format": 3, "samples": []})
    attempt.finish("done", model=attempt.put_model(model_object.FILE, content))
    with pytest.raises(BadInput, match="has format 3"):
        fetch(store)


def test_sizes_are_bounded_before_anything_is_fetched(
    store: Store, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = attempt.put_model(model_object.FILE, MODEL)
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: type("Usage", (), {"free": len(MODEL) - 1})
    )
    attempt.finish("done", model=model)
    with pytest.raises(BadInput, match=r"model has 0.0 MB, and 0.0 MB are free in .*free some"):
        fetch(store)


@pytest.mark.parametrize("name", ["smoke", "small", "medium", "large"])
def test_the_bound_on_sizes_is_that_of_the_configuration(name: str) -> None:
    from launch.pricing.workload import Workload

    config = load_preset(name)
    weights = Workload(config, 1_003_470, targets=1 << 15).parameters
    config.check_size("model", 8 * weights + 100_000, MODEL_COPIES)
    config.check_size("checkpoint", 20 * weights + 100_000, CHECKPOINT_COPIES)
    for copies in (MODEL_COPIES, CHECKPOINT_COPIES):
        with pytest.raises(Corrupt, match="at most"):
            config.check_size("one", 3 * 4 * copies * weights + (1 << 25), copies)


def test_a_long_log_is_cut_off_aloud(
    store: Store, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MOST_LOG", 30)
    PartWriter(store, "run/a0001", "log").flush("x" * 100)
    found = fetch(store)
    assert found.files["run.log"].endswith(b"x" * 13)
    assert "run.log ends after" in found.warnings[0]
