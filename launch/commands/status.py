"""status: how runs stand, as their store tells."""

import json as json_text
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimir.runs.status import Status
    from mimir.runs.store import Store

from mimir import console
from mimir.errors import BadInput
from mimir.text import one_line


def status(
    name: str, *others: str, watch: bool = False, store: str = "", json: bool = False
) -> int:
    """How a run stands, or several.

    Args:
        name: of the run.
        others: names of further runs.
        watch: show progress, loss, held-out figure, cost and deadline until they have ended. Ctrl-C
            ends the watching, never a run. (`python -m launch watch` keeps runs alive.)
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON; `service` is what a service says of a machine that gave no sign yet;
            `bill.at_least`: `bill.hours` is a lower bound, because nobody saw a machine's end; of
            several runs a list.

    Example:
        python -m launch status first
        python -m launch status first second --watch
    """
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    names = list(dict.fromkeys((name, *map(str, others))))
    if watch and json:
        raise BadInput("--watch and --json cannot be combined")
    opened = open_store(store or default_store())
    if watch:
        return _watch(opened, names)
    if json:
        told = [_as_json(opened, each, store) for each in names]
        print(json_text.dumps(told if others else told[0], indent=2))
        return 0
    for number, each in enumerate(names):
        print("\n" if number else "", end="")
        _show(opened, each, store)
    return 0


def _watch(store: "Store", names: list[str]) -> int:
    from launch.supervise.live_view import LiveView
    from launch.ui.live import LiveScreen
    from launch.ui.runs import verdict
    from launch.ui.terminal import say

    try:
        with LiveScreen(sys.stdout) as screen:
            ended = LiveView(store, names, screen).watch()
    except KeyboardInterrupt:
        say("stopped watching; the runs go on")
        return 130
    for each in ended:
        print(verdict(each))
    return 0


def read(store: "Store", name: str) -> "Status":
    """The run's status with labels and notes; what it left is sealed if it is done."""
    from mimir.runs.listing import with_about
    from mimir.runs.status import derive, seal_if_done

    found = derive(store, name, store.now())
    seal_if_done(store, found, found.at)
    return with_about(store, found)


def _as_json(opened: "Store", name: str, store: str) -> dict[str, Any]:
    from launch.pricing import storage
    from launch.pricing.bill import bill
    from launch.provision import starting
    from launch.provision.billed import of_run
    from launch.ui.still_paid import still_paid

    found = read(opened, name)
    gb = kept_gb(opened, found)
    made = {**bill(found, found.at).as_json(), "billed": of_run(found).as_json()}
    made["storage_gb"], made["storage_monthly"] = round(gb, 4), storage.monthly(opened.url, gb)
    paid = [each.as_json() for each in still_paid(found, store)]
    return {
        **found.as_json(), "bill": made, "service": starting.seen(found), "still_paid": paid,
    }  # fmt: skip


def _show(opened: "Store", name: str, store: str) -> None:
    from launch.pricing import storage
    from launch.provision import starting
    from launch.provision.billed import of_run
    from launch.supervise import diagnosis
    from launch.ui import narrow
    from launch.ui.runs import status_text
    from launch.ui.still_paid import still_paid

    found = read(opened, name)
    gb = kept_gb(opened, found)
    order = found.attempts[-1].order if found.attempts else None
    waits = found.state == "interrupted"  # a job that its cluster starts again
    busy = (found.silent or waits) and bool(diagnosis.busy(diagnosis.observe(found, order)))
    more = (("billed", of_run(found).text()), ("storage", storage.text(opened.url, gb)))
    shown = [status_text(found, store, busy=busy, more=more), *map(one_line, starting.seen(found))]
    shown += [
        console.styled(one_line(each.sentence), console.WARN) for each in still_paid(found, store)
    ]
    width = console.width_of(sys.stdout)
    for text in shown:
        console.show(narrow.folded(text, width))


def kept_gb(store: "Store", status: "Status") -> float:
    """GB of what the run keeps: what HEAD names, its data and its code."""
    from launch.pricing.storage import kept_gb as total
    from mimir.runs.record import read_run

    own = read_run(store, status.run).own
    return total([*(kept.size for kept in status.kept), *(each.size for each in own)])
