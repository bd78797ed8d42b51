"""A dry-run step finds what cannot work, and leaves no trace of itself."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mimir.checks import dry_run
from mimir.errors import Corrupt, NonFinite
from mimir.runs.status import read_head
from mimir.runs.store import Store, open_store
from mimir.training import checkpoint
from mimir.training.engine import Engine
from mimir.training.loop import first_record
from mimir.training.machine import Machine
from tests import toys
from tests.e2e import jobs


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return jobs.write_data(tmp_path / "data.csv", 60)


def dry_run_step(engine: Engine) -> str:
    return dry_run.dry_run_step(engine, first_record(engine, "d" * 64, 1))


@pytest.mark.parametrize("machine", [toys.EXACT, toys.FIXED, toys.HALF])
def test_no_trace(machine: Machine) -> None:
    one, other = toys.engine(machine), toys.engine(machine)
    assert dry_run_step(one).startswith("rehearsed 1 step and a checkpoint of 0.")
    assert one.step == 0
    for steps in (0, 3, 9):  # the epoch has eleven: its end is crossed
        one.advance(steps)
        other.advance(steps)
        assert dry_run.differing(toys.tensors(one), toys.tensors(other)) == []


def test_a_run_with_a_dry_run_step_ends_with_the_same_weights(store: Store, data: Path) -> None:
    for name, word in (("with", "on"), ("without", "off")):
        jobs.submit(store, name, data, preflight=word, epochs=1)
        done, lines = jobs.train(store, name)
        assert done
        assert [line for line in lines if "rehearsed" in line] == lines[2:3] * (word == "on")
    jobs.assert_same(store, "with", "without")


def test_only_a_run_without_checkpoints_makes_a_dry_run_step(store: Store, data: Path) -> None:
    jobs.submit(store, "run", data, preflight="on")
    assert "rehearsed" in str(jobs.train(store, "run", steps=4)[1])
    assert read_head(store, "run").step == 3  # the dry-run step counts for the test, not the run
    assert "rehearsed" not in str(jobs.train(store, "run", steps=2)[1])


def test_what_does_not_come_back_is_never_trained(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = checkpoint.decode

    def flipped(*words: Any) -> Any:
        record, tensors = decode(*words)
        tensors["adamw.exp_avg.norm.weight"].view(torch.uint8)[0] ^= 1
        return record, tensors

    monkeypatch.setattr(checkpoint, "decode", flipped)
    jobs.submit(store, "run", data, preflight="on")
    with pytest.raises(Corrupt, match=r"1 tensors differ, such as adamw.exp_avg.norm.weight;"):
        jobs.train(store, "run")
    assert read_head(store, "run").kept == ()


def test_what_cannot_be_put_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "resume", lambda self, tensors: None)
    with pytest.raises(Corrupt, match="after it was put back"):
        dry_run_step(toys.engine())


def test_nan_is_left_to_the_loop(store: Store, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs.submit(store, "run", data, preflight="on", lr=1e30)
    with pytest.raises(NonFinite):
        jobs.train(store, "run")
    assert read_head(store, "run").state == "failed"


def test_bits_are_compared_and_not_values() -> None:
    nan = {"a": torch.tensor(float("nan"))}
    assert dry_run.differing(nan, {"a": torch.tensor(float("nan"))}) == []
    zero = {"a": torch.zeros(2)}
    assert dry_run.differing(zero, {"a": -torch.zeros(2)}) == ["a"]
    assert dry_run.differing(zero, {"a": torch.zeros(2, dtype=torch.int32)}) == ["a"]
    assert dry_run.differing(zero, {}) == ["a"]
    assert dry_run.differing({}, zero) == ["a"]


def test_memory_is_told() -> None:
    used = dry_run.memory(torch.device("cpu"))
    assert 5e7 < used.peak < used.total
    assert str(dry_run.Memory(3_210_000_000, 16_000_000_000)) == "3.2 of 16.0 GB"
