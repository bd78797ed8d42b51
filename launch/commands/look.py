"""status, runs and logs: what a store tells of its runs."""

import json as json_text
import sys
import time
from typing import TYPE_CHECKING, TextIO

from mimir.errors import DONE, BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from launch.supervise.log_follower import Followed
    from mimir.runs.store import Store


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
    from launch.ui.runs import status_text
    from mimir.runs.status import derive
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    now = time.time()
    found = derive(open_store(store or default_store()), name, now)
    if json:
        print(json_text.dumps({**found.as_json(), "bill": bill(found, now).as_json()}, indent=2))
    else:
        print(status_text(found, store, now))


def runs(*, store: str = "", json: bool = False) -> None:
    """All runs of a store.

    Args:
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: a list with `run`, `status` (null if unreadable) and `problem`.

    Example:
        python -m launch runs
    """
    from launch.ui.runs import runs_table
    from launch.ui.terminal import say
    from mimir.runs.status import list_runs
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    opened, now = open_store(store or default_store()), time.time()
    found = list_runs(opened, now)
    if json:
        rows = [
            {
                "run": listed.run,
                "status": listed.status.as_json() if listed.status else None,
                "problem": listed.problem,
            }
            for listed in found
        ]
        print(json_text.dumps(rows, indent=2))
    elif found:
        print(runs_table(found, now))
    else:
        say(f"there are no runs in {opened.url} yet: begin with `python -m launch submit`")


def logs(
    name: str, *, follow: bool = False, attempt: int = 0, store: str = "", json: bool = False
) -> int:
    """Print a run's log, also after its machine is gone.

    Args:
        name: of the run.
        follow: go on until the run has ended; Ctrl-C ends the following, never the run.
        attempt: number of an attempt; 0: the newest.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print each line as a JSON string, so that a program can read them one by one.

    Example:
        python -m launch logs first --follow
    """
    from launch.ui.runs import command
    from launch.ui.terminal import say
    from mimir.runs.parts import read_parts
    from mimir.runs.status import derive
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    opened = open_store(store or default_store())
    found = derive(opened, name, time.time())
    if found.attempt == 0:
        raise BadInput(f"run {name} has not begun: begin it by `{command('resume', name, store)}`")
    if not 0 <= attempt <= found.attempt:
        raise BadInput(
            f"run {name} has no attempt {attempt}: its attempts are 1 to {found.attempt}"
        )
    wanted = attempt or found.attempt
    if not follow:
        text = "".join(text for _, text in read_parts(opened, name, wanted, "log"))
        (_JsonLines(sys.stdout) if json else sys.stdout).write(text)
        if not text:
            say(f"attempt {wanted} of run {name} has printed nothing yet")
        return 0
    out = _JsonLines(sys.stdout) if json else sys.stdout
    followed = watch_log(opened, name, wanted, store, out)
    if followed is None:
        return 130
    return 0


class _JsonLines:
    """Text as one JSON string for each line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        for line in text.splitlines():
            self._out.write(json_text.dumps(line) + "\n")
        return len(text)

    def flush(self) -> None:
        self._out.flush()


def watch_log(
    store: "Store",
    name: str,
    attempt: int,
    store_option: str,
    out: "TextIO | _JsonLines",
    keep: "Callable[[], bool] | None" = None,
) -> "Followed | None":
    """Print the run's log to `out` until the run has ended; None after Ctrl-C, with a word.

    keep: as Follower's.
    """
    from launch.supervise.log_follower import Follower
    from launch.ui.runs import command, verdict
    from launch.ui.terminal import say

    def write(text: str) -> None:
        out.write(text)
        out.flush()

    try:
        followed = Follower(store, name, attempt, out=write, say=say, keep=keep).follow()
    except KeyboardInterrupt:
        say(
            f"\nstopped following; run {name} goes on by itself\n"
            + (f"  keep it alive:   {command('watch', name, store_option)}\n" if keep else "")
            + f"  follow it again: {command('logs', name, store_option, '--follow')}\n"
            f"  stop it:         {command('stop', name, store_option)}"
        )
        return None
    if followed.vanished:
        resume = command("resume", name, store_option)
        say(f"the machine is gone without a word; nothing committed is lost, go on by `{resume}`")
    else:
        say(verdict(followed.status))
    return followed


def exit_code(followed: "Followed") -> int:
    """0 if the run is done, else what its worker ended with."""
    from launch.provision.wait import worker_code

    status = followed.status
    if status.state == "done":
        return DONE
    # An attempt that did its part in a run that is not done has not done what was asked.
    return worker_code(status.attempts[-1].exit_code or None)
