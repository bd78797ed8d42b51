"""runs: the runs of a store."""

import json as json_text
import os
import sys
from typing import TYPE_CHECKING, Any

from mimir import console
from mimir.errors import BadInput
from mimir.text import one_line

if TYPE_CHECKING:
    from launch.ui.run_list import Row
    from mimir.runs.listing import Listed
    from mimir.runs.status import Status
    from mimir.runs.store import Store

AT_ONCE = 8
"""Runs whose attempts are read at once, each of them many objects."""


def runs(
    *, state: str = "", label: str = "", provider: str = "", since: str = "", limit: int = 0,
    sort: str = "created", cost: bool = False, store: str = "", json: bool = False,
) -> None:  # fmt: skip
    """The runs of a store, the newest first.

    Args:
        state: only runs in these states, as A,B: queued, running, interrupted, done, failed,
            stopped, removed (its removal was cut off; one that is gone is not listed), disputed,
            damaged; alive is the first three and disputed, finished the next three.
        label: only runs with all of these labels, as KEY=VALUE,KEY=VALUE; KEY: with any value.
        provider: only runs whose newest attempt was ordered there.
        since: only runs created within this time, such as 12h, 7d or 4w.
        limit: so many runs at most; 0: all.
        sort: created, name, state, step, held-out or cost.
        cost: show each run's provider and cost, which takes more requests.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: a list with `run`, `status` (null if it cannot be read, and once a removal
            has deleted its record; without `attempts`, which `status NAME --json` tells),
            `problem`, `provider` and `dollars` (with --cost) and `still_paid` (machines of finished
            attempts that nobody has seen to be gone).

    Example:
        python -m launch runs --state alive --since 7d --cost
        python -m launch runs --label project=binders
    """
    from launch.ui import run_list
    from launch.ui.still_paid import still_paid
    from launch.ui.terminal import say
    from mimir.runs.store import open_store
    from mimir.submission import default_store, store_folder

    opened = open_store(store or default_store())
    folder = store_folder(opened.url)
    rows, every = find(opened, state, label, provider, since, limit, sort, cost)
    paid = {
        row.listed.run: still_paid(row.listed.status, store) for row in rows if row.listed.status
    }
    if json:
        body = [
            {
                "run": row.listed.run,
                "status": _without_attempts(row.listed.status) if row.listed.status else None,
                "problem": row.listed.problem,
                **(row.as_json() if cost else {}),
                "still_paid": [each.as_json() for each in paid.get(row.listed.run, ())],
            }
            for row in rows
        ]
        print(json_text.dumps(body, indent=2))
    elif rows:
        console.show(run_list.text(rows, console.width_of(sys.stdout)))
        for each in (one for several in paid.values() for one in several):
            console.show(console.styled(one_line(each.sentence), console.WARN))
    elif (store or os.environ.get("MIMIR_STORE")) and folder is not None and not folder.is_dir():
        say(
            f"there is no folder {folder}: check --store and $MIMIR_STORE, or begin with "
            "`python -m launch submit`"
        )
    elif every:
        say(f"no run matches ({every} {'run' if every == 1 else 'runs'} in {opened.url})")
    else:
        say(f"there are no runs in {opened.url} yet: begin with `python -m launch submit`")


def find(
    store: "Store", state: str, label: str, provider: str, since: str, limit: int, sort: str,
    cost: bool,
) -> "tuple[list[Row], int]":  # fmt: skip
    """The runs that are asked for, and how many the store has. Words and BadInput as `runs`."""
    from concurrent.futures import ThreadPoolExecutor

    from launch.providers import registry
    from launch.ui import run_list
    from mimir.runs.listing import list_runs
    from mimir.text import seconds_in

    wanted, labels = run_list.states(state), run_list.labels_of(label)
    run_list.check_sort(sort)
    if provider:
        registry.check_on_record(provider)
    if limit < 0:
        raise BadInput(f"--limit is {limit}, but must be a number of runs, or 0 for all")
    now = store.now()
    every = list_runs(store, now)
    oldest = now - seconds_in(since, "--since") if since else 0.0
    found = run_list.chosen(every, wanted, oldest, labels)
    rows = [run_list.Row(each) for each in found]
    # Without what must be read for it, as few attempts as possible are.
    early = sort != "cost" and not provider
    rows = run_list.ordered(rows, sort)[: limit or None] if early else rows
    if cost or provider or sort == "cost":
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            rows = list(pool.map(lambda row: _with_cost(store, row.listed, now), rows))
    if not early:
        rows = [row for row in rows if not provider or row.provider == provider]
        rows = run_list.ordered(rows, sort)[: limit or None]
    return rows, len(every)


def _with_cost(store: "Store", listed: "Listed", now: float) -> "Row":
    """The run with its provider and cost; without, if its attempts cannot be read."""
    from dataclasses import replace

    from launch.ui.run_list import Row, dollars
    from mimir.errors import MimirError
    from mimir.runs.status import derive

    status = listed.status
    if status is None or not status.attempt:
        return Row(listed)
    try:
        whole = status if status.attempts else derive(store, listed.run, now)
    except MimirError as error:
        return Row(replace(listed, problem=str(error)))
    last = whole.attempts[-1] if whole.attempts else None
    from_order = last.order.provider if last and last.order else ""
    return Row(listed, from_order, dollars(whole))


def _without_attempts(status: "Status") -> dict[str, Any]:
    """Of most runs they are not read, so that of none they are told."""
    body = status.as_json()
    del body["attempts"]
    return body
