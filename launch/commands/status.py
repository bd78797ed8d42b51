"""status: how one run stands, as its store tells."""

import json as json_text
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mimir.runs.status import Status
    from mimir.runs.store import Store

from mimir.text import one_line


def status(name: str, *, store: str = "", json: bool = False) -> None:
    """How a run stands.

    Args:
        name: of the run.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON; `service` is what a service says of a machine that gave no sign yet.

    Example:
        python -m launch status first
    """
    from launch.pricing import storage
    from launch.pricing.bill import bill
    from launch.provision import starting
    from launch.provision.billed import of_run
    from launch.supervise import diagnosis
    from launch.ui.runs import status_text
    from launch.ui.still_paid import still_paid
    from mimir.runs.status import derive, seal_if_done
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    opened = open_store(store or default_store())
    found = derive(opened, name, opened.now())
    seal_if_done(opened, found, found.at)
    billed = of_run(found)
    gb = kept_gb(opened, found)
    if json:
        made = {**bill(found, found.at).as_json(), "billed": billed.as_json()}
        made["storage_gb"], made["storage_monthly"] = round(gb, 4), storage.monthly(opened.url, gb)
        paid = [each.as_json() for each in still_paid(found, store)]
        told = {"bill": made, "service": starting.seen(found), "still_paid": paid}
        print(json_text.dumps({**found.as_json(), **told}, indent=2))
    else:
        order = found.attempts[-1].order if found.attempts else None
        waits = found.state == "interrupted"  # a job that its cluster starts again
        busy = (found.silent or waits) and bool(diagnosis.busy(diagnosis.observe(found, order)))
        more = (("billed", billed.text()), ("storage", storage.text(opened.url, gb)))
        print(status_text(found, store, busy=busy, more=more))
        paid_on = [each.sentence for each in still_paid(found, store)]
        for line in (*starting.seen(found), *paid_on):
            print(one_line(line))


def kept_gb(store: "Store", status: "Status") -> float:
    """GB of what the run keeps: what HEAD names, its data and its code."""
    from launch.pricing.storage import kept_gb as total
    from mimir.runs.record import read_run

    record = read_run(store, status.run)
    own = [each.size for each in (record.data, record.code) if each]
    return total([*(kept.size for kept in status.kept), *own])
