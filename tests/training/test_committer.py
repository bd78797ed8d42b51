import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mimir.errors import Fenced, MimirError, NonFinite, StoreError
from mimir.runs import layout
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import read_head
from mimir.runs.store import Progress, Store, Stored
from mimir.training.checkpoint import Record, Snapshot
from mimir.training.committer import Committer
from tests.runs.memory import MemoryStore
from tests.waiting import LIMIT, unless_it_hangs, wait_for

RUN = "run"


class Shaky(MemoryStore):
    """Fails the next `failures` uploads; `gate` holds every upload back while it is clear."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0
        self.uploads = 0
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()

    def put_content(
        self, key: str, content: bytes | memoryview | Path, progress: Progress | None = None
    ) -> Stored:
        self.uploads += 1
        self.inside.set()
        assert self.gate.wait(LIMIT)
        if self.failures > 0:
            self.failures -= 1
            raise StoreError("503 Slow Down")
        return super().put_content(key, content, progress)


def claimed(store: Store) -> Attempt:
    create_run(store, RunRecord(RUN, "toy", {}, 0, 0.0))
    number = raise_attempt(store, RUN, sleep=lambda s: None)
    return Attempt.claim(store, RUN, number, sleep=lambda s: None)


def snapshot(step: int, value: float = 1.0) -> Snapshot:
    record = Record(step, "a" * 64, "b" * 64, 1, "2", "cpu", selected=2.5)
    return Snapshot(record, {"model.w": torch.full((3,), value)})


class Bench:
    def __init__(self, **settings: Any) -> None:
        self.store = Shaky()
        self.attempt = claimed(self.store)
        self.said: list[str] = []
        self.committer = Committer(self.attempt, self.said.append, **{"pause": 0.001, **settings})

    def steps(self) -> list[int]:
        return [kept.step for kept in read_head(self.store, RUN).kept]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.store.gate.set()
    made.committer.close(1)


def test_a_commit_lands(bench: Bench) -> None:
    wait_for(lambda: bench.committer.idle)  # its thread may not have begun yet
    bench.committer.put(snapshot(3))
    assert bench.committer.drain(LIMIT)
    assert bench.steps() == [3]
    assert read_head(bench.store, RUN).kept[0].loss == 2.5
    assert "checkpoint of step 3 committed" in bench.said[-1]


def test_what_is_encoded_is_released_even_while_the_store_fails(bench: Bench) -> None:
    kept: list[dict[str, torch.Tensor]] = []
    bench.store.failures = 3
    made = replace(snapshot(3), home=kept)
    bench.committer.put(made)
    assert bench.committer.drain(LIMIT)
    assert kept == [made.tensors]
    assert bench.steps() == [3]


def test_a_failing_store_is_tried_again(bench: Bench) -> None:
    bench.store.failures = 5
    bench.committer.put(snapshot(3))
    assert bench.committer.drain(LIMIT)
    assert bench.store.uploads == 6
    assert bench.steps() == [3]
    assert sum("not committed yet: 503 Slow Down" in line for line in bench.said) == 5


def test_training_never_waits(bench: Bench) -> None:
    bench.store.gate.clear()

    def training() -> None:
        for step in range(50):
            bench.committer.put(snapshot(step))
            bench.committer.check()
            assert not bench.committer.idle

    unless_it_hangs(training)  # no upload comes to its end meanwhile
    assert not bench.committer.drain(0.05)
    bench.store.gate.set()
    assert bench.committer.drain(LIMIT)
    assert bench.steps()[-1] == 49


def test_the_newest_replaces_one_that_waits(bench: Bench) -> None:
    bench.store.gate.clear()
    bench.committer.put(snapshot(1))
    assert bench.store.inside.wait(10)
    bench.committer.put(snapshot(2))
    bench.committer.put(snapshot(3))
    bench.store.gate.set()
    assert bench.committer.drain(LIMIT)
    assert bench.steps() == [1, 3]


def test_the_newest_replaces_one_that_fails(bench: Bench) -> None:
    bench.store.gate.clear()
    bench.store.failures = 1
    bench.committer.put(snapshot(1))
    assert bench.store.inside.wait(10)
    bench.committer.put(snapshot(2))
    bench.store.gate.set()
    assert bench.committer.drain(LIMIT)
    assert bench.steps() == [2]


def test_fenced_is_handed_over(bench: Bench) -> None:
    raise_attempt(bench.store, RUN, sleep=lambda s: None)
    bench.committer.put(snapshot(1))
    with pytest.raises(Fenced):
        bench.committer.drain(LIMIT)
    with pytest.raises(Fenced):
        bench.committer.check()
    assert bench.steps() == []
    bench.committer.close()


def test_nan_is_handed_over_and_nothing_is_uploaded(bench: Bench) -> None:
    bench.committer.put(snapshot(1, float("nan")))
    with pytest.raises(NonFinite, match=r"model.w is not finite at step 1"):
        bench.committer.drain(LIMIT)
    assert bench.store.uploads == 0
    assert bench.steps() == []


def test_a_bug_in_the_thread_is_handed_over() -> None:
    def broken() -> bool:
        raise ZeroDivisionError

    made = Bench(before=broken)
    made.committer.put(snapshot(1))
    with pytest.raises(ZeroDivisionError):
        made.committer.drain(LIMIT)


def test_what_must_go_first_goes_first() -> None:
    ready: list[bool] = []

    def before() -> bool:
        ready.append(len(ready) >= 3)
        return ready[-1]

    made = Bench(before=before)
    made.committer.put(snapshot(1))
    assert made.committer.drain(LIMIT)
    assert ready == [False, False, False, True]
    assert made.store.uploads == 1
    made.committer.close()


def test_patience_ends_and_counts_over_replaced_snapshots() -> None:
    now = [0.0]
    made = Bench(timeout=100.0, clock=lambda: now[0])
    made.store.failures = 10**9
    made.committer.put(snapshot(0))

    def train_on() -> None:
        for step in range(1, 1000):
            now[0] += 10.0
            made.committer.put(snapshot(step))
            time.sleep(0.005)
            made.committer.check()

    with pytest.raises(StoreError, match="503 Slow Down"):
        train_on()
    made.committer.close()


def test_a_success_restores_patience() -> None:
    now = [0.0]
    made = Bench(timeout=100.0, clock=lambda: now[0])
    for step in range(5):
        made.store.failures = 2
        made.committer.put(snapshot(step))
        assert made.committer.drain(LIMIT)
        now[0] += 90.0
    assert made.steps()[-1] == 4
    made.committer.close()


@pytest.mark.parametrize("pause", [0.001, 1e6])
def test_close_while_failing_ends_quickly(pause: float) -> None:
    made = Bench(pause=pause)
    made.store.failures = 10**9
    made.committer.put(snapshot(1))
    while not made.said:
        time.sleep(0.001)
    unless_it_hangs(lambda: made.committer.close(0.1))
    assert not made.committer._thread.is_alive()
    with pytest.raises(MimirError, match="closed before"):
        made.committer.check()


def test_close_waits_for_what_was_put(bench: Bench) -> None:
    bench.store.failures = 2
    bench.committer.put(snapshot(7))
    bench.committer.close(10)
    assert bench.steps() == [7]
    assert not bench.committer._thread.is_alive()
    bench.committer.close(10)


def test_a_file_store_takes_commits_too(tmp_path: Path) -> None:
    from mimir.runs.store import open_store

    store = open_store((tmp_path / "store").as_uri())
    committer = Committer(claimed(store), lambda line: None, pause=0.001)
    for step in range(1, 7):
        committer.put(snapshot(step))
        assert committer.drain(LIMIT)
    committer.close()
    kept = read_head(store, RUN).kept
    assert [k.step for k in kept] == [1, 4, 5, 6]
    assert all(k.key.startswith(layout.attempt_prefix(RUN, 1)) for k in kept)
