"""Following a run's log on the screen, for logs, submit and resume."""

import json as json_text
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from mimir.errors import DONE

if TYPE_CHECKING:
    from launch.supervise.log_follower import Followed
    from mimir.runs.store import Store


class JsonLines:
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
    out: TextIO | JsonLines,
    keep: Callable[[], bool] | None = None,
    after: int = 0,
) -> "Followed | None":
    """Print the run's log to `out` until the run has ended; None after Ctrl-C, with a word.

    keep, after: as Follower's.
    """
    from launch.supervise.log_follower import Follower
    from launch.ui.runs import command, verdict
    from launch.ui.terminal import say

    def write(text: str) -> None:
        out.write(text)
        out.flush()

    try:
        follower = Follower(store, name, attempt, out=write, say=say, keep=keep, after=after)
        followed = follower.follow()
    except KeyboardInterrupt:
        say(
            "",
            f"stopped following; run {name} goes on by itself",
            *([f"  keep it alive:   {command('watch', name, store_option)}"] if keep else []),
            f"  follow it again: {command('logs', name, store_option, '--follow')}",
            f"  stop it:         {command('stop', name, store_option)}",
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
