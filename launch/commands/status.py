"""status: how one run stands, as its store tells."""

import json as json_text

from mimir.text import one_line


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
    from launch.ui.still_paid import still_paid
    from mimir.runs.status import derive, seal_if_done
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    opened = open_store(store or default_store())
    found = derive(opened, name, opened.now())
    seal_if_done(opened, found, found.at)
    if json:
        made = bill(found, found.at).as_json()
        paid = [each.as_json() for each in still_paid(found, store)]
        print(json_text.dumps({**found.as_json(), "bill": made, "still_paid": paid}, indent=2))
    else:
        order = found.attempts[-1].order if found.attempts else None
        busy = found.silent and bool(diagnosis.busy(diagnosis.observe(found, order)))
        print(status_text(found, store, busy=busy))
        for each in still_paid(found, store):
            print(one_line(each.sentence))
