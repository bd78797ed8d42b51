"""Schedules of faults against the commit code, and proof that the simulation sees mistakes."""

import os
import shutil
from pathlib import Path

import pytest

from mimir.runs.file_store import FileStore
from mimir.runs.store import Store, open_store
from tests.runs.conftest import without_links
from tests.runs.simulate import FAILED, Simulation, fresh_seed, play
from tests.runs.truth import Violation


@pytest.mark.slow
def test_two_thousand_schedules() -> None:
    total = play(range(1_500)) + play(fresh_seeds(500)) + play(FAILED)
    # Were one of these rare, the run would prove little.
    assert total["takeovers"] > 2_000
    assert total["commits"] > 5_000
    assert total["fenced"] > 500
    assert total["swept"] > 500
    assert total["fallbacks"] > 3
    assert total["finished"] > 1_000
    assert total["survivors"] > 50


def fresh_seeds(many: int) -> range:
    """Others at each call; a violation names its seed, which then belongs into FAILED."""
    first = fresh_seed()
    return range(first, first + many)


@pytest.mark.parametrize("backend", ["file", "linkless"])
def test_a_folder_answers_as_the_store_in_memory(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "linkless":
        without_links(monkeypatch)
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    total = play(range(40), store=lambda seed: FileStore(tmp_path / str(seed)))
    assert total["takeovers"] > 40
    assert total["commits"] > 100
    assert total["fenced"] > 10


@pytest.mark.long
@pytest.mark.parametrize("backend", ["file", "linkless", "s3"])
def test_two_thousand_schedules_of_each_backend(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if backend == "linkless":
        without_links(monkeypatch)
    monkeypatch.setattr(os, "fsync", lambda handle: None)

    def begun(seed: int) -> Store:
        if backend == "s3":
            return open_store(request.getfixturevalue("s3").url(f"seed{seed}"))
        shutil.rmtree(tmp_path / str(seed - 1), ignore_errors=True)
        return FileStore(tmp_path / str(seed))

    assert play(range(2_000), store=begun)["commits"] > 5_000


def test_a_seed_is_a_schedule() -> None:
    first, second = Simulation(7), Simulation(7)
    assert first.run() == second.run()
    assert first.point == second.point


@pytest.mark.parametrize(
    ("variant", "sees"),
    [
        ("unconditional", "went|changed HEAD|seq"),
        ("looks-then-writes", "went|changed HEAD|seq"),
        ("deaf", "made no end|survived"),
        ("anonymous-keys", "overwritten|other bytes|deleted|not written by"),
        ("face-value", "told Fenced while it owns HEAD"),
        ("believes-stale", "told Fenced while it owns HEAD"),
        ("older-fences", "told Fenced while HEAD waits for it"),
        ("delete-unknown", "missing|deleted"),
    ],
)
def test_a_weakened_protocol_is_caught(variant: str, sees: str) -> None:
    with pytest.raises(Violation, match=rf"seed \d+: .*({sees})"):
        play(range(500), variant)
