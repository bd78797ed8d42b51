"""One way to wait for what other processes do, with one limit."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

Found = TypeVar("Found")

LIMIT = 900.0
"""Seconds after which a test counts as hanging. It says nothing of how long anything takes: no
test may fail because its machine is slow, or pass because it is fast."""


def wait_for(
    condition: Callable[[], Found], what: str | Callable[[], str] = "", every: float = 0.05
) -> Found:
    """Ask until the answer is true; that answer.

    what: what is waited for, or what is known by then, for the message of a test that hangs.

    Raises:
        AssertionError: the answer was false for as long as LIMIT.
    """
    end = time.monotonic() + LIMIT
    while not (found := condition()):
        if time.monotonic() >= end:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"waited {LIMIT:.0f} s in vain{told and f' for {told}'}")
        time.sleep(every)
    return found


def unless_it_hangs(act: Callable[[], Found]) -> Found:
    """What `act` returns or raises. Where it would never return, the test fails instead of hanging.

    For what must not wait for something: let that thing never come, and call this.

    Raises:
        AssertionError: it took as long as LIMIT.
    """
    future: Future[Found] = Future()

    def run() -> None:
        try:
            future.set_result(act())
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    if not wait([future], LIMIT).done:
        raise AssertionError(f"it has not returned after {LIMIT:.0f} s")
    return future.result()
