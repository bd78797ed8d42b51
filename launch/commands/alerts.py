"""alerts: what happened to runs and is worth knowing."""

import json as json_text
import sys
from typing import TYPE_CHECKING

from mimir import console
from mimir.errors import BadInput, MimirError, sentence
from mimir.text import alternatives, one_line

if TYPE_CHECKING:
    from mimir.runs.alerts import Alert
    from mimir.runs.store import Store

AT_ONCE = 8
"""Runs that are read at once, each of them many objects."""


def alerts(
    *names: str, since: str = "", level: str = "info", store: str = "", json: bool = False
) -> int:
    """What happened to runs, the newest last: orders, ends, machines that are gone, warnings.

    A machine's own warnings (idle or slowed GPU, training slower than forecast, memory or disk
    nearly full) are what that machine says.

    Args:
        names: of runs; without one, all runs of the store.
        since: only what happened in so long a time, such as 90m, 2h or 7d.
        level: info, warning or error: this level and what is more urgent.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: a list with `run`, `attempt` (0: the run as a whole), `time` (unix
            seconds by the store's clock), `level`, `kind`, `text` and `by`: `machine` for what
            the attempt's machine told, else `launcher`.

    Example:
        python -m launch alerts first
        python -m launch alerts --since 2h --level warning
    """
    from concurrent.futures import ThreadPoolExecutor

    from launch.ui import narrow
    from launch.ui.terminal import say
    from mimir.runs import alerts as events
    from mimir.runs.listing import list_names
    from mimir.runs.store import open_store
    from mimir.submission import default_store
    from mimir.text import moment, seconds_in

    if level not in events.LEVELS:
        raise BadInput(f"--level is {level!r}, but must be {alternatives(events.LEVELS)}")
    ago = seconds_in(since, "--since") if since else None
    opened = open_store(store or default_store())
    now = opened.now()
    oldest = 0.0 if ago is None else now - ago
    wanted = list(dict.fromkeys(map(str, names)))
    every = wanted or list_names(opened)

    def read(name: str) -> "list[Alert]":
        return _of(opened, name, now, oldest, level, named=bool(wanted))

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        found = events.ordered([each for several in pool.map(read, every) for each in several])
    if json:
        print(json_text.dumps([each.as_json() for each in found], indent=2))
    elif found:
        rows = [
            (moment(each.time), each.level, each.run, f"{each.attempt or '-'}", one_line(each.text))
            for each in found
        ]
        shown = [("time", "level", "run", "attempt", "what"), *rows]
        width = console.width_of(sys.stdout)
        print(narrow.hanging(shown, width, ("attempt", "level", "time")))
    else:
        least = "" if level == events.LEVELS[0] else f" of level {level} or above"
        lately = f" in the last {since}" if since else ""
        whom = f"run {alternatives(wanted)}" if wanted else f"any run of {opened.url}"
        say(f"nothing{least} happened to {whom}{lately}")
    return 0


def _of(
    store: "Store", name: str, now: float, since: float, level: str, *, named: bool
) -> "list[Alert]":
    """A run's events; of one that cannot be read that it cannot, unless it alone was asked for."""
    from mimir.runs import alerts as events
    from mimir.runs.status import derive

    try:
        return events.of_run(store, derive(store, name, now), since, level)
    except MimirError as error:
        if named:
            raise
        return [events.Alert(name, 0, now, "error", "unreadable", sentence(error))]
