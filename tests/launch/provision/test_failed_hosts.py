"""Hosts that failed are remembered, within bounds, whatever stands in the way."""

import pytest

from launch.provision import failed_hosts
from mimir.errors import Conflict
from mimir.runs import layout
from mimir.runs.attempts import AttemptStatus
from mimir.runs.notes import Gone
from mimir.runs.order import Order, Plan
from tests.launch.paper import START, attempt, offer
from tests.runs.memory import MemoryStore

FAILED = Gone(START, "failure", "it gave no sign")


def on(host: str, **more: object) -> AttemptStatus:
    order = Order("vastai", Plan(("vastai",)), START, offer(provider="vastai", host=host))
    return attempt(1, order=order, **more)


def hosts(store: MemoryStore, now: float = START) -> list[str]:
    return [host for _, host in failed_hosts.read(store, now, pytest.fail)]


@pytest.mark.parametrize(
    ("failed", "gone", "kept"),
    [
        (on("7"), FAILED, True),
        (on("7", exit_code=75, cause="host"), Gone(START, "placement", "small disk"), True),
        (on("7", exit_code=1), FAILED, False),  # what ran there
        (on("7"), Gone(START, "eviction", "outbid"), False),
        (on("7"), Gone(START, "over", "done"), False),
        (on(""), FAILED, False),  # the service does not say which host it is
        (attempt(1), FAILED, False),
    ],
)
def test_whose_fault(failed: AttemptStatus, gone: Gone, kept: bool) -> None:
    store = MemoryStore()
    failed_hosts.remember(store, "run", failed, gone, pytest.fail)
    assert hosts(store) == (["7"] if kept else [])


def test_bounds() -> None:
    store = MemoryStore()
    for n in range(failed_hosts.MOST + 5):
        gone = Gone(START + n, "failure", "x" * 1000)
        failed_hosts.remember(store, "run", on(str(n)), gone, pytest.fail)
    known = hosts(store, START + 300)
    assert (len(known), known[-1]) == (failed_hosts.MOST, str(failed_hosts.MOST + 4))
    assert "0" not in known
    assert len(store.get(layout.failed_hosts_key())) < 100_000
    later = Gone(START + failed_hosts.REMEMBERED_FOR + 150, "failure", "again")
    failed_hosts.remember(store, "run", on("204"), later, pytest.fail)
    assert hosts(store, later.time)[-1] == "204"
    assert hosts(store, later.time + failed_hosts.REMEMBERED_FOR) == []


def test_two_writers_lose_nothing() -> None:
    class Raced(MemoryStore):
        rivals = 2

        def put_if_absent(self, key: str, data: bytes) -> str:
            if self.rivals:
                self.rivals -= 1
                failed_hosts.remember(self, "run", on(f"rival {self.rivals}"), FAILED, pytest.fail)
                raise Conflict("somebody was quicker")
            return super().put_if_absent(key, data)

    store = Raced()
    failed_hosts.remember(store, "run", on("7"), FAILED, pytest.fail)
    assert sorted(hosts(store)) == ["7", "rival 0", "rival 1"]


@pytest.mark.parametrize("body", [b"{", b'{"format":1,"hosts":[{"host":7}]}\n', b'{"format":2}\n'])
def test_nonsense_is_told_and_changes_nothing(body: bytes) -> None:
    store, said = MemoryStore(), list[str]()
    store.put(layout.failed_hosts_key(), body)
    assert failed_hosts.read(store, START, said.append) == {}
    failed_hosts.remember(store, "run", on("7"), FAILED, said.append)
    assert ["is not known" in said[0], "could not be written" in said[1]] == [True, True]
    assert store.get(layout.failed_hosts_key()) == body
