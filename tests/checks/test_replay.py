"""The last steps of a run trained again: bit for bit what the run had, or which tensor is not."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from launch.report.facts import gather
from launch.report.page import page
from mimir import commands
from mimir.checks import replay as checks
from mimir.errors import DIFFERENT, BadInput
from mimir.runs import codec, layout, notes, replays
from mimir.runs.head import Head, Kept
from mimir.runs.notes import Heartbeat
from mimir.runs.record import read_run
from mimir.runs.status import read_head
from mimir.runs.store import Store, open_store
from mimir.training import checkpoint, engine
from mimir.training.engine import Engine
from tests.e2e import jobs

END = 10**9


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with the run `torn`, of 4 epochs of 5 steps, which is validated every third step."""
    store = open_store((tmp_path / "store").as_uri())
    settings = {"checkpoint_steps": 1000, "patience": 1, "cooldown_steps": 6, "lr": 0.2}
    jobs.submit(store, "torn", jobs.write_data(tmp_path / "data.csv", 50), **settings)
    return store


def train(store: Store, *stops: int) -> tuple[int, int]:
    """Attempts of so many steps, each of which leaves a checkpoint; steps of the last two."""
    for steps in stops:
        jobs.train(store, "torn", steps=steps)
    first, last = (kept.step for kept in read_head(store, "torn").kept[-2:])
    return first, last


@pytest.mark.parametrize("stops", [(2, 11), (2, 1), (3, 1), (5, 4), (4, END)], ids=str)
def test_a_run_is_identical_wherever_it_stands(store: Store, stops: tuple[int, ...]) -> None:
    """Over validations and the end of an epoch, stopped between a step and its validation, done."""
    steps = train(store, *stops)
    found = checks.replay(store, "torn")
    assert (found.from_step, found.to_step) == steps
    assert found.identical
    assert found.alike
    assert found.tensors > 100
    assert found.torch == found.run_torch == torch.__version__


def test_it_says_how_far_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = train(store, 2, 3)
    monkeypatch.setattr("mimir.console.LINE_EVERY", 0.0)
    commands.replay("torn", store=store.url)
    assert f"replay: {last - first} of {last - first} steps (100%)" in capsys.readouterr().err


def test_what_differs_is_told_and_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = train(store, 2, 2)
    advance = Engine.advance

    def otherwise(self: Engine, steps: int) -> None:
        advance(self, steps)
        self.state.ema[3] += 0.25

    with monkeypatch.context() as patched:
        patched.setattr(engine.Engine, "advance", otherwise)
        assert commands.replay("torn", store=store.url) == DIFFERENT
    said = capsys.readouterr()
    assert re.search(
        r"different in \d+ of \d+ tensors, first by name best\.\S+ by up to 0\.", said.out
    )
    assert f"training steps {first} to {last} of run torn again on " in said.err
    assert not replays.read(store, "torn").identical  # type: ignore[union-attr]
    # The next result takes its place.
    assert commands.replay("torn", store=store.url, json=True) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["identical"], body["tensor"], body["run"]) == (True, "", "torn")
    kept = replays.read(store, "torn")
    assert kept is not None
    head = read_head(store, "torn")
    assert kept.sha256 == head.kept[-1].sha256
    facts = gather(store, read_run(store, "torn"), head, [])
    text = page(facts).decode()
    assert f"steps {first} to {last} replayed on 20" in text
    assert f"torch {torch.__version__}): identical" in text
    store.put(layout.replay_key("torn"), codec.sealed({"time": "x"}, replays.FORMAT))
    assert "cannot be read" in gather(store, read_run(store, "torn"), head, []).replay


def test_bits_are_compared_and_not_numbers() -> None:
    zero = {"a": torch.tensor([0.0]), "b": torch.tensor(float("nan")), "c": torch.tensor(1)}
    assert checks._differences(zero, zero) == {}
    other = {**zero, "a": torch.tensor([-0.0]), "c": torch.tensor(3), "d": torch.tensor(1)}
    assert checks._differences(zero, other) == {"a": 0.0, "c": 2.0, "d": None}
    assert checks._differences({"a": torch.zeros(2)}, {"a": torch.zeros(3)}) == {"a": None}


@pytest.mark.parametrize(
    ("beat", "says"),
    [
        ({"torch": "1.0"}, r"trained on .* with torch 1\.0, and here is a CPU with torch"),
        ({"device": "NVIDIA L4", "kind": "cuda"}, r"trained on NVIDIA L4 with torch .* here is a"),
    ],
)
def test_another_kind_of_device(store: Store, beat: dict[str, str], says: str) -> None:
    train(store, 2, 1)
    told = notes.read_heartbeat(store, "torn", 2)
    assert told is not None
    assert told.execution is not None
    kind = replace(told.execution, device=beat.pop("kind", "cpu"))
    notes.write_heartbeat(store, "torn", 2, replace(told, execution=kind, **beat))
    with pytest.raises(BadInput, match=says):
        checks.replay(store, "torn")
    found = checks.replay(store, "torn", anyway=True)
    assert (found.identical, found.alike) == (True, False)
    assert "so it may round otherwise): identical" in found.sentence


@pytest.mark.parametrize(
    ("lineage", "took"),
    [
        (((1, 0), (2, 6), (3, 12), (4, 18)), (2, 3, 4)),
        (((1, 0), (2, 9), (3, 9), (4, 9)), (1, 4)),
        (((1, 0), (2, 12), (3, 6), (4, 20)), (3,)),
        (((1, 0), (2, 6)), (2,)),
    ],
    ids=str,
)  # fmt: skip
def test_all_attempts_that_took_one_of_the_steps_must_be_alike(
    monkeypatch: pytest.MonkeyPatch, lineage: tuple[tuple[int, int], ...], took: tuple[int, ...]
) -> None:
    """Where the checkpoints between two that are kept are gone."""
    kept = [Kept(f"torn/{step}", step, attempt, 1, "0" * 64) for attempt, step in ((2, 8), (4, 20))]
    head = Head(run="torn", attempt=4, lineage=lineage)
    beat = Heartbeat(1.0, 3, 20)
    told = lambda store, run, n: replace(beat, torch=f"2.{n}")  # noqa: E731
    monkeypatch.setattr(notes, "read_heartbeat", told)
    record = checkpoint.Record(20, "0" * 64, "0" * 64, 1, "1.0", "cpu")
    found = checks._trained_on(None, head, *kept, record)  # type: ignore[arg-type]
    assert tuple(int(each.torch.removeprefix("2.")) for each in found) == took


def test_too_few_checkpoints(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="run torn has no checkpoint yet: a replay trains from one"):
        checks.replay(store, "torn")
    assert not jobs.train(store, "torn", steps=1)[0]
    head = read_head(store, "torn")
    one = replace(head, kept=head.kept[:1], step=0, best=None)
    monkeypatch.setattr(checks, "final_head", lambda *words: one)
    with pytest.raises(BadInput, match=r"has one checkpoint, of step 0: a replay trains from one"):
        checks.replay(store, "torn")


def test_without_a_heartbeat_the_record_tells(store: Store) -> None:
    train(store, 2, 1)
    head = read_head(store, "torn")
    first, last = head.kept[-2:]
    record: Any = checkpoint.told(store.get(last.key))
    store.delete(layout.heartbeat_key("torn", 2))
    (found,) = checks._trained_on(store, head, first, last, record)
    assert (found.kind, found.torch) == (checks.CPU, torch.__version__)
    notes.write_heartbeat(store, "torn", 2, Heartbeat(0.0, 3, 20))
    gpu = replace(record, device="NVIDIA L4", torch="2.0")
    (found,) = checks._trained_on(store, head, first, last, gpu)
    assert found.words == "NVIDIA L4 with torch 2.0"
    endless = replace(record, device="L" * 10**6, torch="2" * 10**6)
    (found,) = checks._trained_on(store, head, first, last, endless)
    assert (len(found.kind), len(found.name), len(found.torch)) == (200, 200, 200)
