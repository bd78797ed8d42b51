"""logs: what a run printed, also after its machine is gone."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from launch.commands.following import JsonLines, watch_log
from mimir.errors import BadInput
from mimir.text import seconds_in

if TYPE_CHECKING:
    from mimir.runs.status import Status
    from mimir.runs.store import Store


def logs(
    name: str, *, follow: bool = False, tail: int = 0, since: str = "", attempt: int = 0,
    store: str = "", json: bool = False,
) -> int:  # fmt: skip
    """Print a run's log, also after its machine is gone.

    Args:
        name: of the run.
        follow: go on until the run has ended; Ctrl-C ends the following, never the run.
        tail: only so many lines from its end, read from the end; 0: all of it.
        since: only what was written in so long a time, such as 90s, 30m or 1.5h.
        attempt: number of an attempt; 0: the newest.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print each line as a JSON string, so that a program can read them one by one.

    Example:
        python -m launch logs first --follow
        python -m launch logs first --tail 50
        python -m launch logs first --since 30m
    """
    from launch.provision import starting
    from launch.ui.still_paid import still_paid
    from launch.ui.terminal import say
    from mimir.runs.status import derive
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    ago = _ago(tail, since)
    opened = open_store(store or default_store())
    found = derive(opened, name, opened.now())
    wanted = attempt_of(found, attempt, store)
    out = JsonLines(sys.stdout) if json else sys.stdout
    last = 0
    # All that is there already, the follower reads itself.
    whole = follow and not tail and not since
    for number, text in () if whole else read(opened, found, wanted, tail, ago):
        out.write(text)
        last = number
    if not follow:
        if not last:
            say(f"attempt {wanted} of run {name} has printed nothing yet")
            say(*(starting.seen(found) if wanted == found.attempt else ()))
        say(*(each.sentence for each in still_paid(found, store)))
        return 0
    followed = watch_log(opened, name, wanted, store, out, after=last)
    if followed is None:
        return 130
    say(*(each.sentence for each in still_paid(followed.status, store)))
    return 0


def attempt_of(found: "Status", attempt: int, store_option: str = "") -> int:
    """The number of the attempt that is meant, 0 for the newest. BadInput if there is none."""
    from launch.ui.runs import command

    if found.attempt == 0:
        begin = command("resume", found.run, store_option)
        raise BadInput(f"run {found.run} has not begun: begin it by `{begin}`")
    if not 0 <= attempt <= found.attempt:
        raise BadInput(
            f"run {found.run} has no attempt {attempt}: its attempts are 1 to {found.attempt}"
        )
    return attempt or found.attempt


def read(
    store: "Store", found: "Status", attempt: int, tail: int = 0, ago: float | None = None
) -> Iterator[tuple[int, str]]:
    """(number of a part, text) of an attempt's log: all of it, its last lines, or what was written
    in the last so many seconds."""
    from mimir.runs import parts

    if tail:
        yield parts.tail(store, found.run, attempt, tail)
    elif ago is not None:
        yield parts.since(store, found.run, attempt, found.at - ago)
    else:
        yield from parts.read_all(store, found.run, attempt, "log")


def _ago(tail: int, since: str) -> float | None:
    """The seconds of --since, None without; BadInput if it and --tail do not go together."""
    if tail < 0:
        raise BadInput(f"--tail is {tail}, but must be 0 (all lines) or more")
    if tail and since:
        raise BadInput("give --tail or --since, not both")
    return seconds_in(since, "--since") if since else None
