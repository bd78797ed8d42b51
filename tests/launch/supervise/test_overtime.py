"""A machine ends after its deadline, whatever is written into HEAD."""

from launch.supervise.rounds import rounds
from launch.supervise.watcher import Watcher
from mimir.runs import layout
from tests.launch.paper import START, Desk

LAST = 3_600.0


def test_what_cannot_be_ended_is_told(desk: Desk) -> None:
    desk.begin(deadline=START + LAST)
    desk.store.put(layout.head_key("run"), b"")
    desk.store.put(layout.order_key("run", 1), b"{}")
    watcher = Watcher(desk.store, desk.say, provider=lambda name: desk.provider)
    desk.clock.now = START + 10 * LAST
    assert rounds(watcher, lambda: ["run"], desk.say) == ([], ["run"])
    assert "run run can be ended by its deadline: run/launcher/a0001/order.json" in desk.said[-1]
