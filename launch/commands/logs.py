"""logs: what a run printed, also after its machine is gone."""

import sys

from launch.commands.following import JsonLines, watch_log
from mimir.errors import BadInput
from mimir.text import seconds_in


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
    from launch.ui.runs import command
    from launch.ui.still_paid import still_paid
    from launch.ui.terminal import say
    from mimir.runs import parts
    from mimir.runs.status import derive
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    if tail < 0:
        raise BadInput(f"tail is {tail}, but must be 0 (all lines) or more")
    if tail and since:
        raise BadInput("--tail and --since: say one of them")
    ago = seconds_in(since, "--since") if since else 0.0
    opened = open_store(store or default_store())
    found = derive(opened, name, opened.now())
    if found.attempt == 0:
        raise BadInput(f"run {name} has not begun: begin it by `{command('resume', name, store)}`")
    if not 0 <= attempt <= found.attempt:
        raise BadInput(
            f"run {name} has no attempt {attempt}: its attempts are 1 to {found.attempt}"
        )
    wanted = attempt or found.attempt
    out = JsonLines(sys.stdout) if json else sys.stdout
    last = 0
    if tail:
        last, text = parts.tail(opened, name, wanted, tail)
        out.write(text)
    if since:
        last, text = parts.since(opened, name, wanted, found.at - ago)
        out.write(text)
    if not follow:
        for number, text in () if tail or since else parts.read_all(opened, name, wanted, "log"):
            out.write(text)
            last = number
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
