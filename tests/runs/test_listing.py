"""Runs are listed in few requests each, however many there are."""

import json
from dataclasses import replace

import pytest

from mimir.runs import layout, listing, notes, orders
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone, Heartbeat, Outcome
from mimir.runs.record import RunRecord, create_run, read_run
from mimir.runs.status import derive
from tests.runs.memory import CountingStore

NOW = 10_000.0
KINDS = ("done", "failed", "running", "silent", "interrupted", "own", "fresh", "stopping")


@pytest.fixture
def store() -> CountingStore:
    made = CountingStore()
    made.clock = lambda: NOW
    return made


def grown(store: CountingStore, name: str, kind: str, price: float | None = 1.0) -> None:
    """A run of two attempts, the newest of which ends, or goes on, as `kind` says."""
    create_run(store, RunRecord(name, "smoke", {}, 0, 1000.0))
    if kind == "fresh":
        return
    for number in (1, 2):
        raise_attempt(store, name, clock=store.now)
        notes.record_machine(store, name, number, Machine("runpod", NOW, price=price))
        attempt = Attempt.claim(store, name, number)
        attempt.commit(100 * number, b"x", 3.0)
        store.clock = lambda: NOW - 3600 * (kind == "silent")
        beat = Heartbeat(NOW, 100 * number + 5, 1000, rate=10.0, loss=2.5, val=2.9)
        notes.write_heartbeat(store, name, number, beat)
        store.clock = lambda: NOW
        if number == 1:
            notes.record_gone(store, name, 1, Gone(NOW, "eviction", "taken away"))
    if kind == "done":
        attempt.finish("done")
    if kind in ("done", "interrupted", "failed", "own"):
        code = {"done": 0, "failed": 77}.get(kind, 75)
        notes.record_outcome(store, name, 2, Outcome(code, "so it is", NOW, 200))
        if kind != "own":
            notes.record_gone(store, name, 2, Gone(NOW, "over", "it had ended"))
    if kind == "failed":
        end_attempt(store, name, 2, "failed", "so it is")
    if kind == "stopping":
        orders.request_stop(store, name, notes.StopRequest(NOW))


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_tells_what_status_tells(store: CountingStore, kind: str) -> None:
    """In four requests if the run has ended, in five if it goes on; the first look seals it."""
    grown(store, "demo", kind, None if kind == "own" else 1.0)
    (first,), took_first = store.count(lambda: listing.list_runs(store, NOW))
    (line,), took = store.count(lambda: listing.list_runs(store, NOW))
    whole = derive(store, "demo", NOW)
    assert first.status is not None
    assert line.status == replace(whole, attempts=())
    more = {"done": 0, "failed": 0, "own": 2, "fresh": -1}.get(kind, 1)  # its machine is its own
    assert took == 1 + 4 + more, store.requests  # and one for the names
    sealing = 3 if kind == "done" else 0  # its order, whether there is a later one, the seal
    assert took_first == took + sealing


@pytest.mark.parametrize("oddity", ["ahead", "behind", "paid", "unseen", "damaged", "lost"])
def test_what_is_odd_is_looked_at_closely(store: CountingStore, oddity: str) -> None:
    grown(store, "demo", "interrupted")
    if oddity == "ahead":
        head = json.loads(store.get("demo/HEAD"))
        store.put("demo/HEAD", json.dumps({**head, "attempt": 10**7}).encode())
    elif oddity == "behind":
        before = store.get("demo/HEAD")
        raise_attempt(store, "demo", clock=store.now)
        notes.record_machine(store, "demo", 3, Machine("runpod", NOW))
        store.put("demo/HEAD", before)
        store.clock = lambda: NOW + 3600
    elif oddity == "damaged":
        store.put(layout.heartbeat_key("demo", 2), b"{")
    elif oddity == "lost":
        store.delete("demo/HEAD")
    else:
        store.delete(layout.gone_key("demo", 1 if oddity == "unseen" else 2))
    now = store.now()
    (line,) = listing.list_runs(store, now)
    assert line.status == derive(store, "demo", now)
    assert line.status.attempts


def test_a_sealed_run_is_what_was_sealed(store: CountingStore) -> None:
    grown(store, "demo", "done")
    listing.list_runs(store, NOW)
    head = json.loads(store.get("demo/HEAD"))
    store.put("demo/HEAD", json.dumps({**head, "state": "running", "step": 9}).encode())
    (line,) = listing.list_runs(store, NOW)
    assert line.status is not None
    assert (line.status.state, line.status.step) == ("done", 200)


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_ended_for_good(store: CountingStore, kind: str) -> None:
    grown(store, "demo", kind)
    assert kind != "done" or listing.ended_for_good(store, "demo", NOW) is None  # not sealed
    listing.list_runs(store, NOW)
    found, took = store.count(lambda: listing.ended_for_good(store, "demo", NOW))
    assert took <= 3
    assert (found is not None) == (kind in ("done", "failed"))
    if found is not None:
        assert (found.state, found.step) == (kind, 200)
        store.delete(layout.gone_key("demo", 1))  # a machine that may still be paid
        assert listing.ended_for_good(store, "demo", NOW) is None
    assert read_run(store, "demo").preset == "smoke"
