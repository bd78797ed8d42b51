"""Hosts on which machines failed, remembered for all runs of a store, so that they come last.

One small object that only launchers write, by compare-and-swap. It moves offers to the end of a
list and decides nothing else: where it cannot be read or written, the launcher says so and goes on.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated

from mimir.errors import Conflict, MimirError
from mimir.runs import codec, layout
from mimir.runs.attempts import AttemptStatus
from mimir.runs.notes import Gone
from mimir.runs.ranges import AtMost, Time
from mimir.runs.store import Store

FORMAT = 1
REMEMBERED_FOR = 7 * 24 * 3600.0
"""Seconds: a host that was mended is worth another try."""
MOST, LONGEST = 200, 200
"""Hosts, the newest ones, and characters of why each failed."""
TRIES = 5
_FAULTS = ("failure", "placement")


@dataclass(frozen=True)
class FailedHost:
    """host: as Offer.host. time: unix s by the store's clock. run: on which it failed."""

    provider: str
    host: str
    time: Time
    run: str
    why: str


@dataclass(frozen=True)
class _Listed:
    hosts: Annotated[tuple[FailedHost, ...], AtMost(MOST)] = ()


def read(store: Store, now: float, say: Callable[[str], None]) -> dict[tuple[str, str], FailedHost]:
    """(provider, host) of those that failed within REMEMBERED_FOR; {} if they cannot be read."""
    try:
        hosts, _ = _read(store)
    except MimirError as error:
        say(f"which hosts failed before is not known: {error}")
        return {}
    return {(h.provider, h.host): h for h in hosts if 0 <= now - h.time < REMEMBERED_FOR}


def is_hosts_fault(attempt: AttemptStatus, gone: Gone) -> bool:
    """Whether it was the machine that failed, and not what ran on it."""
    return gone.kind in _FAULTS and (attempt.exit_code is None or attempt.cause == "host")


def remember(
    store: Store, run: str, attempt: AttemptStatus, gone: Gone, say: Callable[[str], None]
) -> None:
    """Write the attempt's host down, if it failed and the service told which one it is."""
    offer = attempt.order.offer if attempt.order else None
    if offer is None or not offer.host or not is_hosts_fault(attempt, gone):
        return
    made = FailedHost(offer.provider, offer.host, gone.time, run, gone.why[:LONGEST])
    try:
        _add(store, made)
    except MimirError as error:
        say(f"that host {offer.host} of {offer.provider} failed could not be written: {error}")


def _add(store: Store, made: FailedHost) -> None:
    key = layout.failed_hosts_key()
    for turn in range(TRIES):
        hosts, version = _read(store)
        kept = [
            h
            for h in hosts
            if made.time - h.time < REMEMBERED_FOR
            and (h.provider, h.host) != (made.provider, made.host)
        ]
        body = {"hosts": [asdict(h) for h in [*kept, made][-MOST:]]}
        data = codec.sealed(body, FORMAT)
        try:
            if version:
                store.compare_and_swap(key, data, version)
            else:
                store.put_if_absent(key, data)
            return
        except Conflict:
            if turn == TRIES - 1:
                raise


def _read(store: Store) -> tuple[tuple[FailedHost, ...], str]:
    key = layout.failed_hosts_key()
    found = store.read(key)
    if found is None:
        return (), ""
    listed = codec.typed(_Listed, codec.unsealed(found.data, FORMAT, key), key)
    return listed.hosts, found.version
