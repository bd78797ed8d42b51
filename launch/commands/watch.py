"""watch: supervises runs, so that nothing is lost while nobody looks."""

import json as json_text
import time
from typing import TYPE_CHECKING

from mimir.errors import INTERRUPTED, BadInput
from mimir.text import one_line

if TYPE_CHECKING:
    from launch.supervise.watcher import Seen

ROUND_EVERY = 30.0
"""Seconds between rounds."""


def watch(
    *names: str,
    once: bool = False,
    install: bool = False,
    uninstall: bool = False,
    notify: str = "",
    store: str = "",
    json: bool = False,
) -> int:
    """Supervise runs: terminate broken, evicted or finished machines, resume unfinished runs.

    Unfinished runs are resumed on new machines, under the plan of their newest order (providers,
    limits); a sweep on rented machines begins its next runs under its own. Where no key is here for
    a run, it is tried again after 1, 2, 4 … 10 minutes. Any number of watchers may run at once,
    also on other computers; Ctrl-C ends the watching, never a run. Exits with 75 if a run of the
    last round could not be read, or a key is missing here.

    Args:
        names: of the runs (default: all of the store whose machines are somebody else's, and its
            sweeps).
        once: one round, for cron; else until all these runs have ended.
        install: have this computer run `watch --once` for the store every five minutes, by
            systemd, launchd or crontab, with the keys that are set now; replaces an earlier one.
        uninstall: remove that timer, and what it was given.
        notify: URL of a webhook (Slack, Discord, ntfy) that is told once how each run ended, and
            of a machine that is paid on (default: $MIMIR_NOTIFY); docs/notify.md.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: for each run of the last round `run`, `state`, `step`, `over`,
            `acted`, `sentence` and `problem`.

    Example:
        python -m launch watch first --once
    """
    from launch.provision.liveness import Watched
    from launch.supervise.notify import Notifier, url_of
    from launch.supervise.rounds import rounds
    from launch.supervise.settled import Settled
    from launch.supervise.watcher import Watcher
    from launch.sweep.begin_next import BeginNext
    from launch.ui.terminal import Waiting, say
    from mimir.runs.listing import list_names
    from mimir.runs.record import read_run
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    opened = open_store(store or default_store())
    if install or uninstall:
        if names or once or (install and uninstall):
            raise BadInput("--install and --uninstall are for the whole store: give one, alone")
        _install(opened.url, notify) if install else _uninstall(opened.url)
        return 0
    notifier = Notifier(opened, url_of(notify), say)
    wanted = [str(name) for name in names]
    for name in set(wanted) - set(list_names(opened) if wanted else ()):
        read_run(opened, name)  # says what was meant
    keeper = Watcher(opened, say, watched=None if once else Watched())
    settled = Settled(opened, keeper.concerned, whole=notifier.sends, say=say)
    nexts = BeginNext(opened, say, keeper)

    try:
        while True:
            seen, failed = rounds(keeper, lambda: wanted or settled.others(), say)
            left, stuck = ([], []) if wanted else nexts.round()
            failed += stuck
            seen = sorted([*settled.over, *seen], key=lambda one: one.run)
            for one in seen:
                notifier.after(one)
            alive = [one for one in seen if not one.over]
            if not (seen or failed or left):
                say(f"no run of {opened.url} has a machine of somebody else's to keep")
            # Keeping may take a second round: a machine that was just ended has a successor.
            if once or not (alive or failed or left):
                break
            with Waiting() as waiting:
                until = time.monotonic() + ROUND_EVERY
                while time.monotonic() < until:
                    waiting.tick(_counted(alive, seen, bool(failed)))
                    time.sleep(0.5)
    except KeyboardInterrupt:
        say("stopped watching; the runs go on")
        return 130
    if json:
        print(json_text.dumps([_as_json(one) for one in seen], indent=2))
    else:
        told = [one for one in seen if names or not one.over or one.acted]
        for one in told:
            print(f"{one.run}: {one_line(_at_its_end(one) or one.sentence)}")
        if seen and not told:
            print(f"all {len(seen)} runs have ended: nothing is left to keep")
    return INTERRUPTED if failed else 0


def _install(store: str, notify: str) -> None:
    import os

    from launch.supervise import timer
    from launch.supervise.notify import url_of
    from mimir.worker import webhook

    url = url_of(notify)
    made = timer.install(store, {**os.environ, webhook.VARIABLE: url})
    every = timer.EVERY // 60
    print(f"{made.scheduler.title} runs `watch --once` for {store} every {every} minutes")
    print(f"{made.scheduler.advice}; `python -m launch doctor` says whether it ran")
    print(f"its rounds get {', '.join(made.variables)} as they are now, from {made.file}")
    for sentence in timer.fleeting():
        print(f"note: {sentence}")
    if "AWS_SESSION_TOKEN" in made.variables:
        print(
            "note: AWS_SESSION_TOKEN ends after some hours, and the rounds with it: use keys of "
            "their own that stay, or a profile (AWS_PROFILE)"
        )


def _uninstall(store: str) -> None:
    from launch.supervise import timer

    found = timer.uninstall(store)
    print("the timer is removed" if found else f"there was no timer for {store}")


def _at_its_end(one: "Seen") -> str:
    """How a run ended, with what it took and what was estimated; "" for one that goes on."""
    from launch.ui.runs import verdict
    from mimir.runs.head import ENDED

    return verdict(one.status) if one.over and one.status.state in ENDED else ""


def _counted(alive: "list[Seen]", seen: "list[Seen]", failed: bool) -> str:
    """The line between two rounds. failed: a run, or the store, could not be read."""
    unread = "the store, or a run in it, could not be read; trying again" if failed else ""
    counted = f"{len(alive)} of {len(seen)} runs alive: {_brief(alive)}" if seen else ""
    return "; ".join(filter(None, (counted, unread)))


def _brief(alive: "list[Seen]") -> str:
    text = ", ".join(f"{one.run} at step {one.status.step}" for one in alive[:3])
    return text + (", …" if len(alive) > 3 else "")


def _as_json(one: "Seen") -> dict[str, object]:
    return {
        "run": one.run, "state": one.status.state, "step": one.status.step, "over": one.over,
        "acted": one.acted, "sentence": one.sentence, "problem": one.problem,
    }  # fmt: skip
