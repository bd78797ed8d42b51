"""Interrupted anywhere, a run ends as if it never had been: the main promise."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from mimir.errors import BadInput, Corrupt, Fenced, NonFinite
from mimir.output import export
from mimir.runs import layout, notes
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.status import derive, read_head
from mimir.runs.store import Store, Stored, open_store
from mimir.worker import reporter
from tests.e2e import jobs
from tests.waiting import wait_for


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return jobs.write_data(tmp_path / "data.csv", 50)


def undisturbed(store: Store, data: Path, **settings: object) -> int:
    """Train the run `calm` in one go; its number of steps."""
    jobs.submit(store, "calm", data, **settings)
    assert jobs.train(store, "calm")[0]
    return read_head(store, "calm").step


def test_interrupted_after_every_step_and_resumed_in_a_disturbed_process(
    store: Store, data: Path
) -> None:
    """With a share of pairs, best weights and early stopping, over the ends of many epochs: of the
    run (each 5 steps), of its pairs and of its background, which end inside a batch."""
    settings = {"patience": 2, "cooldown_steps": 4, "lr": 0.2, "final_lr": 0.9, "epochs": 30}
    steps = undisturbed(store, data, **settings)
    ended = jobs.final_state(store, "calm")
    best, cooldown = int(ended["loop.best_step"]), int(ended["loop.cooldown"])
    assert 12 < steps == cooldown + 4 < 30 * 5, "nothing stopped it early: the test shows nothing"
    assert 0 < best <= cooldown - 2 * 3
    names = [name.removeprefix("best.") for name in ended if name.startswith("best.")]
    assert any(not torch.equal(ended[f"best.{name}"], ended[f"ema.{name}"]) for name in names)
    jobs.submit(store, "torn", data, **settings)
    attempts = 0
    while not jobs.train(store, "torn", steps=1)[0]:
        attempts += 1
        torch.manual_seed(attempts)
        torch.rand(attempts)
        random.seed(attempts)
        assert attempts <= steps
    assert attempts >= steps - 1
    jobs.assert_same(store, "torn", "calm")


@pytest.mark.parametrize("stop", [1, 2, 3, 5, 7, 8, 11])
def test_one_interruption(store: Store, data: Path, stop: int) -> None:
    undisturbed(store, data)
    jobs.submit(store, "torn", data)
    assert not jobs.train(store, "torn", steps=stop)[0]
    assert jobs.train(store, "torn")[0]
    jobs.assert_same(store, "torn", "calm")


def test_another_seed_ends_elsewhere(store: Store, data: Path) -> None:
    """The comparison itself can fail."""
    undisturbed(store, data)
    jobs.submit(store, "torn", data, seed=1)
    assert jobs.train(store, "torn")[0]
    with pytest.raises(AssertionError, match="tensors differ"):
        jobs.assert_same(store, "torn", "calm")


def test_a_corrupt_newest_checkpoint_falls_back_aloud_and_loses_nothing(
    store: Store, data: Path, tmp_path: Path
) -> None:
    undisturbed(store, data)
    jobs.submit(store, "torn", data)
    assert not jobs.train(store, "torn", steps=7)[0]
    newest = read_head(store, "torn").kept[-1]
    path = tmp_path / "store" / newest.key
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    done, said = jobs.train(store, "torn")
    assert done
    assert any(f"checkpoint of step {newest.step} cannot be used" in line for line in said)
    jobs.assert_same(store, "torn", "calm")


def test_no_readable_checkpoint_is_never_a_silent_fresh_start(
    store: Store, data: Path, tmp_path: Path
) -> None:
    jobs.submit(store, "torn", data)
    assert not jobs.train(store, "torn", steps=7)[0]
    for kept in read_head(store, "torn").kept:
        path = tmp_path / "store" / kept.key
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(Corrupt, match=r"none of the \d checkpoints"):
        jobs.train(store, "torn")


def test_a_checkpoint_of_another_configuration_is_refused(
    store: Store, data: Path, tmp_path: Path
) -> None:
    import json

    jobs.submit(store, "torn", data)
    assert not jobs.train(store, "torn", steps=3)[0]
    path = tmp_path / "store" / layout.record_key("torn")
    record = json.loads(path.read_text())
    record["config"]["model"]["dim"] = 32
    from mimir.runs import codec

    record["config_sha256"] = codec.digest(record["config"])
    path.write_text(json.dumps(record))
    with pytest.raises(BadInput, match="another configuration"):
        jobs.train(store, "torn")


def test_nan_ends_with_77_and_the_last_good_checkpoint(store: Store, data: Path) -> None:
    jobs.submit(store, "wild", data, lr=1e30, clip=1e30, epochs=20, checkpoint_steps=0)
    with pytest.raises(NonFinite) as caught:
        jobs.train(store, "wild")
    assert caught.value.exit_code == 77
    status = derive(store, "wild", 0.0)
    assert status.state == "failed"
    tensors = jobs.final_state(store, "wild")
    assert all(bool(torch.isfinite(value).all()) for value in tensors.values())


def test_an_older_attempt_is_fenced(store: Store, data: Path) -> None:
    from mimir.worker.attempt import run_attempt

    jobs.submit(store, "run", data)
    old = raise_attempt(store, "run")
    raise_attempt(store, "run")
    with pytest.raises(Fenced) as caught:
        run_attempt(store, "run", old, jobs.StopAfter(99), jobs.Silent())  # type: ignore[arg-type]
    assert caught.value.exit_code == 76


def test_an_attempt_gives_signs_while_it_leaves_its_model(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes minutes for a large model, and a silent attempt looks like a lost one."""
    leave = export.leave

    def watched(attempt: Attempt, *rest: Any) -> Stored:
        before = notes.read_heartbeat(store, "run", 1)
        wait_for(lambda: notes.read_heartbeat(store, "run", 1) != before, "a sign")
        return leave(attempt, *rest)

    monkeypatch.setattr(reporter, "INTERVAL", 0.1)
    monkeypatch.setattr(export, "leave", watched)
    jobs.submit(store, "run", data, epochs=1)
    assert jobs.train(store, "run")[0]
