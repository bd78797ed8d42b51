"""A machine ends after its deadline, whatever is written into HEAD."""

import pytest

from launch.contract import deadlines
from launch.supervise.watcher import Watcher, rounds
from mimir.runs import layout, notes
from tests.launch.paper import START, Desk

LAST = 3_600.0
BODIES = {"damaged": b"[" * 100, "newer": b'{"format":2}'}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_no_head_keeps_a_machine_beyond_its_deadline(desk: Desk, body: bytes) -> None:
    assert desk.begin(deadline=START + LAST) == 1
    machine = desk.provider.start(desk.spec(deadline=START + LAST))
    notes.record_machine(desk.store, "run", 1, machine)
    desk.store.put(layout.head_key("run"), body)
    watcher = Watcher(
        desk.store, desk.say, provider=lambda name: desk.provider,
        sleep=desk.clock.sleep, clock=desk.clock,
    )  # fmt: skip

    def round_at(time: float) -> tuple[list[str], list[str]]:
        desk.clock.now = time
        desk.said.clear()
        seen, failed = rounds(watcher, lambda: ["run"], desk.say)
        assert (seen, failed) == ([], ["run"])
        return desk.cloud.alive(), desk.said[1:]

    end = START + LAST + deadlines.WATCH_OVERTIME
    assert round_at(end) == (["mimir-run-a0001"], [])
    assert notes.read_gone(desk.store, "run", 1) is None
    alive, said = round_at(end + 1)
    assert alive == []
    assert "the machine of attempt 1 of run run is ended: it went on" in said[0]
    assert desk.gone(1).kind == "failure"
    assert round_at(end + 2) == ([], [])


def test_what_cannot_be_ended_is_told(desk: Desk) -> None:
    desk.begin(deadline=START + LAST)
    desk.store.put(layout.head_key("run"), b"")
    desk.store.put(layout.order_key("run", 1), b"{}")
    watcher = Watcher(desk.store, desk.say, provider=lambda name: desk.provider)
    desk.clock.now = START + 10 * LAST
    assert rounds(watcher, lambda: ["run"], desk.say) == ([], ["run"])
    assert "run run can be ended by its deadline: run/launcher/a0001/order.json" in desk.said[-1]
