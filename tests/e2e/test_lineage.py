"""A run that begins from another one: exact, and independent of it."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import safetensors.torch
import torch

from launch.commands import lineage
from mimir.config import Config
from mimir.data import files
from mimir.errors import BadInput, Corrupt
from mimir.runs import layout
from mimir.runs.head import Kept
from mimir.runs.record import read_run
from mimir.runs.status import derive, read_head
from mimir.runs.store import Store, Stored, open_store
from mimir.submission import enter
from mimir.training.assemble import build
from mimir.training.checkpoint import Record
from mimir.training.engine import Engine
from mimir.training.loop import first_record
from mimir.worker import first_state
from tests.e2e import jobs
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a finished run "first", which a cooldown ended after its best weights."""
    folder = tmp_path_factory.mktemp("trained")
    opened = open_store((folder / "store").as_uri())
    early = {"patience": 2, "cooldown_steps": 4, "lr": 0.2, "final_lr": 0.9, "epochs": 30}
    jobs.submit(opened, "first", jobs.write_data(folder / "data.csv", 50), **early)
    assert jobs.train(opened, "first")[0]
    return folder


@pytest.fixture
def store(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return open_store((tmp_path / "store").as_uri())


def submit(store: Store, name: str, init: str = "", more: str = "", **settings: object) -> None:
    job, start = lineage.prepared(store, "", settings, "", init, more)
    enter(store, name, job, start=start)


def begun(store: Store, name: str) -> tuple[dict[str, torch.Tensor], Record]:
    """What its first attempt begins with."""
    record = read_run(store, name)
    assert record.origin is not None
    engine, peptides = build(store, record, Config.from_dict(record.config))
    fresh = first_record(engine, peptides.digest, 1)
    made = first_state.begin(engine, store, record.origin, fresh)
    return engine.state.tensors(), made


def after_the_first_commit(store: Store, name: str) -> Callable[[Engine, int], None]:
    """Engine.advance that waits for it: a newer checkpoint replaces one that waits to be sent."""
    advance = Engine.advance

    def waiting(engine: Engine, most: int) -> None:
        wait_for(lambda: read_head(store, name).kept, "the first commit")
        advance(engine, most)

    return waiting


@pytest.mark.parametrize("kind", ["weights", "state"])
def test_interrupted_anywhere_it_ends_as_if_undisturbed(
    store: Store, tmp_path: Path, kind: str
) -> None:
    ended = jobs.final_state(store, "first")
    steps, best = int(ended["loop.step"]), int(ended["loop.best_step"])
    assert 0 < best < steps
    assert int(ended["loop.cooldown"]) >= 0
    for name in ("calm", "torn"):
        if kind == "weights":
            submit(store, name, init="first", epochs=1)
        else:
            submit(store, name, more="first", max_steps=steps + 5, patience=0)
    # What it begins with is its own.
    shutil.rmtree(tmp_path / "store" / "first")
    first, record = begun(store, "torn")
    assert jobs.train(store, "calm")[0]
    if kind == "weights":  # they are its step 0
        with mock.patch.object(Engine, "advance", after_the_first_commit(store, "torn")):
            assert not jobs.train(store, "torn", steps=1)[0]
        kept = read_head(store, "torn").kept[0]
        assert kept.step == 0
        content = store.get(kept.key)
        written = safetensors.torch.load(content)
        assert all(torch.equal(written[name], value) for name, value in first.items())
    attempts = 0
    while not jobs.train(store, "torn", steps=1)[0]:
        attempts += 1
        torch.manual_seed(attempts)
        assert attempts < 100
    assert attempts >= 3
    jobs.assert_same(store, "torn", "calm")
    status = derive(store, "torn", store.now())
    origin = status.origin
    assert origin is not None
    assert status.attempts[0].from_step == origin.done == (steps if kind == "state" else 0)
    assert (origin.kind, origin.run) == (kind, "first")
    if kind == "weights":
        assert (origin.step, record.step, record.evaluated) == (best, 0, -1)
        for name in (name for name in first if name.startswith("model.")):
            assert torch.equal(first[name], ended[name.replace("model.", "best.")])
            assert torch.equal(first[name], first[name.replace("model.", "ema.")])
        assert int(first["loop.step"]) == int(first["adamw.step"]) == 0
    else:
        assert origin.step == record.step == record.evaluated == steps
        assert (origin.best_step, origin.best) == (best, float(ended["loop.best_figure"]))
        assert jobs.history(store, "torn")[0]["step"] > steps
        changed = [name for name in first if not torch.equal(first[name], ended[name])]
        assert changed == ["loop.stale", "loop.cooldown"]  # the other's end is not this one's


def test_weights_of_a_checkpoint_are_those_of_its_step(store: Store) -> None:
    head = read_head(store, "first")
    kept = head.kept[-1]
    submit(store, "later", init=f"first@{kept.step}", lr=0.01)
    first, ended = begun(store, "later")[0], jobs.final_state(store, "first")
    names = [name.removeprefix("model.") for name in first if name.startswith("model.")]
    assert all(torch.equal(first[f"model.{name}"], ended[f"ema.{name}"]) for name in names)
    assert any(not torch.equal(first[f"model.{name}"], ended[f"best.{name}"]) for name in names)
    origin = read_run(store, "later").origin
    assert origin is not None
    assert (origin.step, origin.sha256) == (kept.step, kept.sha256)
    assert origin.start is not None
    # No more than one set of weights is copied.
    assert origin.start.size < head.model.size  # type: ignore[union-attr]


def test_what_does_not_fit_is_refused_before_anything_is_made(store: Store, tmp_path: Path) -> None:
    other = jobs.write_data(tmp_path / "other.csv", 20)
    other.write_text(other.read_text().replace("P10001", "Q90001"))
    jobs.submit(store, "empty", tmp_path / "data.csv")
    step = read_head(store, "first").step
    for words, says in (
        ({"init": "first", "layers": 3, "dim": 32}, r"--dim 16 --layers 1"),
        ({"init": "first", "composition": "off"}, "--composition on"),
        ({"init": "frist"}, "did you mean first"),
        ({"init": "first@99999"}, "keeps no checkpoint of step 99999: it keeps those of"),
        ({"init": "first@x"}, "must be a run, or RUN@STEP"),
        ({"init": "empty"}, "no checkpoint yet"),
        ({"init": "first", "more": "first"}, "say one"),
        ({"more": "first", "max_steps": step}, f"at step {step} already"),
        ({"more": "first", "batch": 4}, "leave --batch out"),
        ({"more": "first", "log_every": 3}, "leave --log-every out"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=says):
            submit(store, "no", **words)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="which are not the same"):
        lineage.prepared(store, "", {"batch": 4}, str(other), "first", "")
    with pytest.raises(BadInput, match="say --dim 16"):
        lineage.prepared(store, "smoke", {}, "", "first", "")
    with pytest.raises(BadInput, match="--data is for a new model"):
        lineage.prepared(store, "", {"epochs": 99}, str(other), "", "first")
    assert not any(store.list("no/"))


@pytest.mark.parametrize(
    ("changed", "words", "says"),
    [
        ({"loop.step": -(10**6)}, {"more": "first", "max_steps": 999}, "is not of that step"),
        (
            {"best.head.bias": math.nan},
            {"more": "first", "max_steps": 999},
            "best.head.bias holds NaN",
        ),
        ({"ema.head.bias": math.inf}, {"init": "first@STEP"}, "ema.head.bias holds NaN or inf"),
        (
            {"loop.best_figure": math.nan},
            {"more": "first", "max_steps": 999},
            "is not one finite number",
        ),
        ({"last.head.bias": math.nan}, {"init": "first"}, "last.head.bias holds NaN"),
    ],
    ids=str,
)
def test_what_no_run_writes_is_refused_before_anything_is_made(
    store: Store, changed: dict[str, float], words: dict[str, Any], says: str
) -> None:
    """The digests are right: a machine may have written it so."""
    head = read_head(store, "first")
    kept, model = head.kept[-1], head.model
    assert model is not None
    stored: Stored | Kept = model if "last.head.bias" in changed else kept
    content = store.get(stored.key)
    tensors = safetensors.torch.load(content)
    for name, value in changed.items():
        tensors[name].fill_(value)
    said = files.record_of(content, "it")
    content = safetensors.torch.save(tensors, {"mimir": files.canonical_json(said)})
    store.put(stored.key, content)
    size, sha256 = len(content), files.sha256(content)
    last = replace(kept, size=size, sha256=sha256) if stored is kept else kept
    left = replace(model, size=size, sha256=sha256) if stored is model else model
    head = replace(head, kept=(*head.kept[:-1], last), model=left)
    store.put(layout.head_key("first"), head.to_bytes())
    if "init" in words:
        words = {"init": words["init"].replace("STEP", str(kept.step))}
    with pytest.raises(Corrupt, match=says):
        submit(store, "no", **words)
    assert not any(store.list("no/"))


def test_the_same_name_with_another_beginning_is_refused(store: Store) -> None:
    submit(store, "second", init="first", epochs=2)
    submit(store, "second", init="first", epochs=2)
    with pytest.raises(BadInput, match="another beginning"):
        submit(store, "second", init=f"first@{read_head(store, 'first').step}", epochs=2)
