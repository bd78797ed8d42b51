"""Races writers for one key: a store may keep its promises one request at a time, and only then.

A server that looks whether an object is there, and then writes, refuses a second create a moment
later; asked twice at once, it lets both win. So does a name with two servers behind it that copy
from each other. All writers begin together, through every address of the endpoint's name.
"""

import contextlib
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn

from mimir.errors import Conflict, NotFound, StoreDenied, StoreError, StoreUnfit
from mimir.runs import layout
from mimir.runs.head import fresh
from mimir.runs.store import Store, Versioned

WRITERS = 6
ROUNDS = 3
"""With one address 51 requests: a read by each writer, then in each round as many creates, as many
swaps, two reads and a deletion, one after another only five times: two seconds at 100 ms."""


@dataclass(frozen=True)
class _Write:
    """A writer's body and what it was told: the new version, "" for a refusal, None for neither."""

    body: bytes
    version: str | None


def race(store: Store, run: str, rng: random.Random) -> str:
    """Let writers contend for fresh keys and for one version of them; what was tried, in words.

    Raises:
        StoreUnfit: two writers won, or another's body is there than the winner's.
        StoreError: the store does not answer, or lets nobody win.
    """
    ways = _ways(store, layout.probe_key(run, fresh(rng)))
    won = 0
    for _ in range(ROUNDS):
        key = layout.probe_key(run, fresh(rng))
        try:
            created = _contest(ways, rng, key, "created one key", None)
            won += created is not None
            if created is not None:
                _contest(ways, rng, key, "replaced one version of a key", created)
        finally:
            with contextlib.suppress(StoreError):
                store.delete(key)
    if not won:
        raise StoreError(
            f"the store could not be probed: of {WRITERS} writers that create one key at once it "
            f"refused all, {ROUNDS} times; try again later"
        )
    many = f"{len(ways)} addresses" if len(ways) > 1 else "one address"
    return f"one winner each time: {ROUNDS} rounds of {_writers(ways)} writers through {many}"


def _ways(store: Store, key: str) -> list[Store]:
    """The store through each address that answers, with a connection open for each writer."""
    every: Sequence[Store] = getattr(store, "by_address", lambda: [store])()
    failures: dict[int, StoreError] = {}

    def greet(number: int) -> None:
        try:
            every[number % len(every)].read(key)
        except StoreError as error:
            failures[number % len(every)] = error

    with ThreadPoolExecutor(_writers(every)) as pool:
        list(pool.map(greet, range(_writers(every))))
    # A name often has addresses of a network that this computer is not in.
    reached = [way for number, way in enumerate(every) if number not in failures]
    if not reached:
        raise failures[0]
    return reached


def _contest(
    ways: Sequence[Store], rng: random.Random, key: str, what: str, before: Versioned | None
) -> Versioned | None:
    """Write at once over `before`, None for a fresh key; what is there then, None if nobody won."""
    count = _writers(ways)
    bodies = [f"{fresh(rng)}\n".encode() for _ in range(count)]
    start = threading.Barrier(count)

    def write(number: int) -> _Write:
        way, body = ways[number % len(ways)], bodies[number]
        start.wait()
        if before is None:
            return _Write(body, _told(lambda: way.put_if_absent(key, body)))
        return _Write(body, _told(lambda: way.compare_and_swap(key, body, before.version)))

    with ThreadPoolExecutor(count) as pool:
        writes = list(pool.map(write, range(count)))
    winners = [each for each in writes if each.version]
    if len(winners) > 1:
        _unfit(f"of {count} writers that {what} at once it told {len(winners)} that they had won")
    # A lost answer may have been a win.
    able = {each.body for each in winners or writes if each.version != ""}
    found = before
    for way in ways:
        found = way.read(key)
        there = found.data if found else None
        if there not in able and (winners or there != (before.data if before else None)):
            _unfit(
                f"after {count} writers {what} at once it does not hold the winner's"
                if winners
                else f"after {count} writers {what} at once it holds what it had refused"
            )
    return found if found is not before else None


def _told(write: Callable[[], str]) -> str | None:
    try:
        return write()
    except (Conflict, NotFound):
        return ""
    except (StoreDenied, StoreUnfit):
        raise
    except StoreError:
        return None


def _writers(ways: Sequence[Store]) -> int:
    return max(WRITERS, len(ways))


def _unfit(did: str) -> NoReturn:
    raise StoreUnfit(did)
