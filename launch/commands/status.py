"""status: how one run stands, as its store tells."""

import json as json_text


def status(name: str, *, store: str = "", json: bool = False) -> None:
    """How a run stands.

    Args:
        name: of the run.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON; `service` is what a service says of a machine that gave no sign yet.

    Example:
        python -m launch status first
    """
    from launch.pricing.bill import bill
    from launch.provision import starting
    from launch.supervise import diagnosis
    from launch.ui.runs import status_text
    from mimir.runs.status import derive, seal_if_done
    from mimir.runs.store import open_store
    from mimir.submission import default_store
    from mimir.text import one_line

    opened = open_store(store or default_store())
    found = derive(opened, name, opened.now())
    seal_if_done(opened, found, found.at)
    if json:
        made = bill(found, found.at).as_json()
        told = {"bill": made, "service": starting.seen(found)}
        print(json_text.dumps({**found.as_json(), **told}, indent=2))
    else:
        order = found.attempts[-1].order if found.attempts else None
        busy = found.silent and bool(diagnosis.busy(diagnosis.observe(found, order)))
        print(status_text(found, store, busy=busy))
        for line in starting.seen(found):
            print(one_line(line))
