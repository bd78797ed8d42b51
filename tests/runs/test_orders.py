"""HEAD is believed where the orders say the same, and is put right where they do not."""

from dataclasses import replace

import pytest

from mimir.errors import BadInput, Fenced
from mimir.runs import layout, notes, orders
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.head import Head
from mimir.runs.machine import Machine
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import DISPUTED, derive
from tests.runs.memory import MemoryStore

NOW = 1_000_000.0
LATER = NOW + orders.RESERVED


@pytest.fixture
def store() -> MemoryStore:
    """The run `r`, whose attempt 2 trains and has committed step 10."""
    store = MemoryStore()
    create_run(store, RunRecord("r", "smoke", {}, 0, NOW))
    for number in (1, 2):
        assert raised(store) == number
        notes.record_machine(store, "r", number, Machine("terminal", NOW))
    Attempt.claim(store, "r", 2).commit(10, b"state", None)
    return store


def raised(store: MemoryStore, now: float = NOW, after: int | None = None) -> int:
    return raise_attempt(
        store, "r", orders.by_hand("terminal", now), after=after, clock=lambda: now
    )


def forge(store: MemoryStore, **what: object) -> None:
    """HEAD as a machine writes it, without a condition."""
    head = Head.from_bytes(store.objects["r/HEAD"].data)
    store.put("r/HEAD", replace(head, nonce="forged", **what).to_bytes())  # type: ignore[arg-type]


def head(store: MemoryStore) -> Head:
    return Head.from_bytes(store.objects["r/HEAD"].data)


def test_an_order_is_there_before_head_and_remembers_what_it_named(store: MemoryStore) -> None:
    first, second = (notes.read_order(store, "r", n) for n in (1, 2))
    assert first is not None
    assert second is not None
    assert (first.step, first.kept, first.attended) == (0, (), False)
    assert raised(store) == 3
    third = notes.read_order(store, "r", 3)
    assert third is not None
    assert (third.step, third.kept) == (10, head(store).kept)
    assert derive(store, "r", NOW).state == "queued"


@pytest.mark.parametrize("number", [3, 10**7])
@pytest.mark.parametrize("state", ["running", "done"])
def test_a_head_that_was_never_ordered(store: MemoryStore, number: int, state: str) -> None:
    forge(store, attempt=number, state=state)
    status = derive(store, "r", NOW)
    assert (status.state, status.attempt, len(status.attempts)) == (DISPUTED, 2, 2)
    assert f"names attempt {number}, which was never ordered" in status.reason
    assert orders.request_stop(store, "r", notes.StopRequest(NOW)) == 2 if state != "done" else True
    assert raised(store, after=2) == 3
    assert (head(store).attempt, head(store).state, head(store).step) == (3, "queued", 10)


def test_a_head_that_was_put_back(store: MemoryStore) -> None:
    """By the keys of attempt 1, after attempt 2 was ordered and has worked."""
    forge(store, attempt=1, state="done", lineage=((1, 0),))
    assert derive(store, "r", NOW + 1).state == "done"  # attempt 2 may be about to be begun
    status = derive(store, "r", LATER)
    assert (status.state, status.attempt) == (DISPUTED, 2)
    assert "at attempt 1 although attempt 2 was ordered" in status.reason
    with pytest.raises(Fenced, match="just now"):
        raised(store)
    assert raised(store, LATER, after=2) == 3
    assert notes.read_gone(store, "r", 2) is None


def test_an_order_whose_launcher_died(store: MemoryStore) -> None:
    notes.record_order(store, "r", 3, orders.by_hand("terminal", NOW))
    assert derive(store, "r", LATER - 1).state == "running"
    assert derive(store, "r", LATER).state == DISPUTED
    assert end_attempt(store, "r", 3, "stopped", "enough", clock=lambda: LATER).attempt == 3
    gone = notes.read_gone(store, "r", 3)
    assert gone is not None
    assert gone.kind == "refused"


def test_a_run_that_came_to_its_end_before_it_was_replaced(store: MemoryStore) -> None:
    notes.record_order(store, "r", 3, orders.by_hand("terminal", NOW))
    forge(store, state="done")
    assert derive(store, "r", LATER).state == "done"
    with pytest.raises(BadInput, match="is done"):
        raised(store, LATER)
    assert notes.read_order(store, "r", 4) is None


def test_a_head_below_what_its_order_remembers_is_told_and_not_forgotten(
    store: MemoryStore,
) -> None:
    before = head(store).kept
    assert raised(store) == 3
    forge(store, step=0, kept=(), best=None)
    assert "is at step 0, but was at step 10" in derive(store, "r", NOW).warning
    assert raised(store) == 4
    order = notes.read_order(store, "r", 4)
    assert order is not None
    assert (order.step, order.kept) == (10, before)
    assert "step 10" in derive(store, "r", NOW).warning


def test_without_orders_nothing_is_believed(store: MemoryStore) -> None:
    for number in (1, 2):
        store.delete(layout.order_key("r", number))
    assert derive(store, "r", NOW).state == DISPUTED
    with pytest.raises(BadInput, match="no attempt of run r was ordered"):
        orders.request_stop(store, "r", notes.StopRequest(NOW))
    assert raised(store) == 1
