"""The moments of a file store's work: before each of its calls of the operating system.

A thread stands for a process. At each moment it may be stopped, killed, or overtaken by others; so
a test can try all of them, and depends on no clock.
"""

import contextlib
import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from unittest import mock

from mimir.runs import file_names
from tests.runs.actors import Actor, Killed
from tests.waiting import LIMIT, unless_it_hangs

_CALLS = ("open", "link", "rename", "unlink", "rmdir", "mkdir", "lstat", "stat", "fsync", "scandir")
_here = threading.local()


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Within: threads that have a gate pass it before each call. Nothing waits for a disk."""
    with contextlib.ExitStack() as stack:
        for place, name in [*((os, call) for call in _CALLS), (file_names, "open_body")]:
            real = getattr(place, name) if name != "fsync" else lambda handle: None
            stack.enter_context(mock.patch.object(place, name, _gated(name, real)))
        yield


def _gated(name: str, real: Callable) -> Callable:
    def call(*words, **options):
        gate = getattr(_here, "gate", None)
        if gate is not None:
            gate(name)
        return real(*words, **options)

    return call


@contextlib.contextmanager
def overtaken(by: Callable[[int], None]) -> Iterator[None]:
    """Within: before each call of this thread, `by` is told its number and may do what others do.

    Use within `watched`.
    """
    count = 0

    def gate(call: str) -> None:
        nonlocal count
        _here.gate = None
        by(count)
        _here.gate = gate
        count += 1

    _here.gate = gate
    try:
        yield
    finally:
        _here.gate = None


class Sleeper:
    """A process that goes to sleep at one of its moments, 0 being the first.

    Use within `watched`. call: count only moments before this call. asleep: False if it had ended
    before.
    """

    def __init__(self, act: Callable[[], object], moment: int, call: str = "") -> None:
        self._act, self._left, self._call = act, moment, call
        self._at_rest, self._go = threading.Event(), threading.Event()
        self._result: Future = Future()
        self._killed = False
        threading.Thread(target=self._run, daemon=True).start()
        unless_it_hangs(self._at_rest.wait)
        self.asleep = not self._result.done()

    def wake(self) -> object:
        """Let it go on to its end; what it returned, or the error that it raised."""
        self._go.set()
        return self._result.exception(LIMIT) or self._result.result(LIMIT)

    def kill(self) -> None:
        """SIGKILL: none of its code runs any more, nor has it an end of its own."""
        self._killed = True
        self._go.set()
        self._result.exception(LIMIT)

    def _run(self) -> None:
        _here.gate = self._gate
        try:
            self._result.set_result(self._act())
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self._result.set_exception(error)
        self._at_rest.set()

    def _gate(self, call: str) -> None:
        if self._left == 0 and call.startswith(self._call):
            self._at_rest.set()
            self._go.wait(LIMIT)
        if self._killed:
            raise Killed
        self._left -= call.startswith(self._call)


class Schedule:
    """Processes of which one runs at a time, from moment to moment, as a seed will have it.

    kill: how likely a process is killed, at each of its moments.
    """

    def __init__(self, seed: int, kill: float = 0.0) -> None:
        self.rng = random.Random(seed)
        self.back = threading.Lock()
        self.back.acquire()
        self.failure: BaseException | None = None
        self.actors: list[Actor] = []
        self._kill = kill

    def add(self, body: Callable[[], None]) -> None:
        def run(me: Actor) -> None:
            _here.gate = me.pause
            body()

        self.actors.append(Actor(self, f"process{len(self.actors)}", 0, run))

    def play(self) -> None:
        """To the end of each; raises what one of them raised. Use within `watched`."""
        while alive := [actor for actor in self.actors if not actor.over]:
            actor = self.rng.choice(alive)
            # In bursts: else no process would ever be far behind another.
            for _ in range(self.rng.choice((1, 1, 3, 40))):
                actor.killed = actor.killed or self.rng.random() < self._kill
                actor.go.release()
                self.back.acquire()
                if actor.over:
                    break
        for actor in self.actors:
            actor.thread.join()
        if self.failure is not None:
            raise self.failure
