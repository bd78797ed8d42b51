"""A round over all runs of a store, whose objects are read ahead.

The store is asked for several runs at once. Services are asked, and machines are ordered and ended,
for one run after another: two orders at once would be for the same offer, and an adapter serves one
caller at a time.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from launch.provision.order import Say
from launch.supervise.watcher import Seen, Watcher
from mimir.errors import StoreDenied, StoreError, StoreUnfit, sentence
from mimir.runs.status import Status

AHEAD = 8
"""Runs whose objects are read while others are looked after: a bucket is far away."""


def rounds(
    watcher: Watcher, names: Callable[[], Sequence[str]], say: Say
) -> tuple[list[Seen], list[str]]:
    """A round over all runs; what was seen, and the names of those that a person must look after.

    Whatever one of them does, the others are looked at.
    """
    seen: list[Seen] = []
    failed: list[str] = []
    try:
        listed = names()
    except (StoreDenied, StoreUnfit):
        raise
    except StoreError as error:
        say(f"the runs could not be listed: {error}")
        return seen, ["all"]
    for name, read in _read_ahead(watcher.read, listed):
        try:
            seen.append(watcher.round(name, read()))
        except Exception as error:  # noqa: BLE001 - told; the others must be kept
            say(f"run {name} could not be looked at: {sentence(error)}")
            failed.append(name)
            if not isinstance(error, StoreError) and (told := watcher.end_overdue(name)):
                say(told)
    return seen, failed + [one.run for one in seen if one.problem]


def _read_ahead(
    read: Callable[[str], Status], names: Sequence[str]
) -> Iterator[tuple[str, Callable[[], Status]]]:
    """Each name, and what gives its status or raises why there is none."""
    with ThreadPoolExecutor(max_workers=AHEAD) as pool:
        waiting: deque[tuple[str, Callable[[], Status]]] = deque()
        for name in names:
            waiting.append((name, pool.submit(read, name).result))
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        yield from waiting
