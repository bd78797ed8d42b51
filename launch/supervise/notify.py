"""Tells a webhook what became of a run: done, failed, stopped, over budget, machine still paid.

Sent by whoever watches the run, each event once from this computer: what was sent is remembered in
its state folder, also for the next watcher. The URL is kept nowhere but in the timer's private
file (timer.py). A webhook that does not answer costs a few seconds and one sentence; it is tried
again by later rounds.
"""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from launch.contract import state
from launch.pricing import bill
from launch.provision.order import Say
from launch.supervise import limits, watcher
from launch.ui.runs import verdict
from launch.ui.still_paid import StillPaid, still_paid
from mimir.errors import BadInput, MimirError
from mimir.runs.head import ENDED, REMOVED
from mimir.runs.status import Status, derive
from mimir.runs.store import Store
from mimir.worker import webhook

TRIES = 3
"""Of one event."""
REST = 60.0
"""Seconds after a failure in which nothing is sent: all runs of a store must not wait for it."""
OLD = 86400.0
"""Seconds after which the end of a run is no news: a store may hold years of runs."""
SENT = b"sent"


class Notifier:
    """Sends each event of a store's runs once.

    Args:
        url: of the webhook, "" for none.
        post: sends a body to it; why that failed, or "".
    """

    def __init__(
        self,
        store: Store,
        url: str,
        say: Say,
        *,
        post: Callable[..., str] = webhook.send,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._url, self._say = store, webhook.checked(url), say
        self._post, self._clock = post, clock
        self._rests_until = float("-inf")

    @property
    def sends(self) -> bool:
        """Whether anybody is told."""
        return bool(self._url)

    def after(self, seen: "watcher.Seen") -> None:
        """Tell what a watcher's round has found out."""
        status = seen.status
        if not self._url or status.state not in ENDED:
            return
        self.ended(status)
        if not (seen.acted or seen.problem) or not still_paid(status):
            return
        try:  # the round may have ended it since
            fresh = derive(self._store, status.run, self._store.now())
        except MimirError as error:
            self._say(f"whether a machine of {status.run} is still paid cannot be told: {error}")
            return
        for each in still_paid(fresh):
            self._tell(fresh, "machine still paid", each.sentence, each)

    def ended(self, status: Status) -> None:
        """Tell how a run ended, if it has, and not long ago. Who removes one knows of that."""
        if not self._url or status.state not in ENDED or _age(status) > OLD:
            return
        if status.state == REMOVED:
            return
        used_up = status.state == "stopped" and status.reason.endswith(limits.more(status.run))
        event = "over budget" if used_up else status.state
        self._tell(status, event, verdict(status))

    def _tell(
        self, status: Status, event: str, sentence: str, paid: StillPaid | None = None
    ) -> None:
        if self._clock() < self._rests_until:
            return
        number = paid.attempt if paid else status.attempt
        try:
            claim = _claimed(self._store.url, status, f"{event} {number}")
        except OSError as error:
            self._say(f"what is sent to the webhook cannot be remembered: {error.strerror}")
            return
        if claim is None:
            return
        facts = {
            "state": status.state, "step": status.step, "attempt": number,
            "dollars": bill.bill(status, status.at).dollars,
            "machine": {"provider": paid.provider, "id": paid.id, "price": paid.price,
                        "since": paid.since, "ends": paid.ends} if paid else None,
        }  # fmt: skip
        why = self._post(self._url, webhook.message(event, status.run, sentence, facts))
        if why:
            self._rests_until = self._clock() + REST
            where = webhook.host(self._url)
            self._say(f"the webhook at {where} was not told that {status.run} is {event}: {why}")
            return
        try:
            claim.write_bytes(SENT)
        except OSError as error:
            self._say(
                f"that the webhook was told of {status.run} cannot be remembered, so it may be "
                f"told again: {error.strerror}"
            )


def url_of(option: str) -> str:
    """The webhook's URL: the option's, else the environment's; "" for none."""
    return webhook.checked(str(option or os.environ.get(webhook.VARIABLE, "")))


def must_be_sent(url: str, *, watches: bool) -> None:
    """BadInput if a webhook was named and this command would not stay to call it."""
    if url and not watches:
        raise BadInput(
            "--notify is sent by whoever watches the run: say --watch as well, or install a timer "
            "by `python -m launch watch --install --notify URL`"
        )


def from_machine(url: str, asked: bool) -> list[str]:
    """What the user must know who lets the machine send. BadInput if there is no URL."""
    if asked and not url:
        raise BadInput("--notify-from-machine needs the webhook's URL: --notify URL")
    return [
        "note: the machine's host and its service learn the webhook's URL (--notify-from-machine): "
        "whoever has it can write to its channel"
    ] if asked else []  # fmt: skip


def _age(status: Status) -> float:
    """Seconds since the newest attempt's end, 0 if nobody wrote that down."""
    last = status.attempts[-1] if status.attempts else None
    times = (last.ended_at, last.gone.time if last.gone else None) if last else ()
    known = [each for each in times if each]
    return max(0.0, status.at - min(known)) if known else 0.0


def _claimed(store: str, status: Status, event: str) -> Path | None:
    """The file of the next try to send this event; None if it was sent, or another one tries."""
    folder = state.of_run("notified", store, status.run)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = hashlib.sha256(f"{event} {status.created}".encode()).hexdigest()[:16]
    for number in range(TRIES):
        path = folder / f"{key}-{number}"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            return path
        except FileExistsError:
            tried = time.time() - path.stat().st_mtime
            if path.read_bytes() == SENT or tried < 2 * webhook.WITHIN:
                return None
    return None
