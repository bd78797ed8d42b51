"""status: how one run stands, as its store tells."""

import json as json_text
import time


def status(name: str, *, store: str = "", json: bool = False) -> None:
    """How a run stands.

    Args:
        name: of the run.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON.

    Example:
        python -m launch status first
    """
    from launch.pricing.bill import bill
    from launch.supervise import diagnosis
    from launch.ui.runs import status_text
    from mimir.runs.status import derive, seal_if_done
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    now = time.time()
    opened = open_store(store or default_store())
    found = derive(opened, name, now)
    seal_if_done(opened, found, now)
    if json:
        print(json_text.dumps({**found.as_json(), "bill": bill(found, now).as_json()}, indent=2))
    else:
        order = found.attempts[-1].order if found.attempts else None
        busy = found.silent and bool(diagnosis.busy(diagnosis.observe(found, order, now)))
        print(status_text(found, store, now, busy=busy))
