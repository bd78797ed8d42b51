"""One of the runs that a start of a job trains: its attempt, its worker, and what follows its end.

A job has one part, or several side by side. A part never asks Slurm for anything but what becomes
of the job: that is the job's to decide when all of its parts have ended. Where there are several,

- a worker that breaks is begun again here, because its neighbours keep the job;
- a run whose node or store failed it waits until they have ended: then the job starts again;
- a run that is over leaves a note (gone.json), by which others see that its worker has ended;
- each line of the job's log begins with the run that it is of.
"""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import IO, TypeVar

from launch.cluster import container, next_attempt
from launch.cluster.container import Runtime
from launch.cluster.signals import Signals
from launch.contract.provider import AttemptSpec
from launch.providers.slurm.own_job import Fate, OwnJob
from mimir.errors import (
    BAD_CONFIG,
    DONE,
    FENCED,
    INTERRUPTED,
    BadInput,
    MimirError,
    NotFound,
    StoreDenied,
    StoreError,
    StoreUnfit,
    sentence,
)
from mimir.runs import notes, orders
from mimir.runs.notes import StopRequest
from mimir.runs.record import read_run
from mimir.runs.status import head_or_remembered
from mimir.runs.store import Store

T = TypeVar("T")

LOOK_EVERY = 10.0
"""Seconds between looks for a request to stop, which the worker itself obeys at once."""
KILLED_AFTER = 960.0
"""Seconds after that request at which a worker is killed that shares its job: a minute more than
it gives its training (mimir.worker.supervisor.GRACE). One that has a job of its own is ended with
that."""
AGAIN_AFTER = 5.0
"""Seconds before a broken worker is begun again: Slurm's signal may reach it before the job. So
many also before a store that failed is asked again."""
OUTPUT_WITHIN = 30.0
"""Seconds that a worker's last lines may take after its end."""


class End(StrEnum):
    """What a part's end means to its job. over: the run needs no more of it. leaves: its cluster
    ends the job, and nothing is asked for. more: the run goes on, if the job is started again.
    turned away: this start may not, or cannot, go on with the run."""

    OVER = "over"
    LEAVES = "leaves"
    MORE = "more"
    TURNED_AWAY = "turned away"


@dataclass(frozen=True)
class Ordered:
    """A run that a job was ordered for. attempt: the one of that order. record: SHA-256 of its
    run.json, "" if that is not known."""

    run: str
    attempt: int
    record: str = ""


class Part:
    """Args:
    shared: whether the job has other parts.
    out: takes lines for the job's log.
    alone: whether no part of the job is at work any more.
    """

    def __init__(
        self, own: OwnJob, url: str, ordered: Ordered, signals: Signals, *, shared: bool,
        image: str, out: Callable[[str], None], sleep: Callable[[float], None],
        alone: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        self._own, self._url, self._ordered, self._signals = own, url, ordered, signals
        self._shared, self._image, self._sleep = shared, image, sleep
        self._alone = alone
        mark = f"[{ordered.run}] " if shared else ""
        self._mark, self._to_log = mark, out
        self._child: subprocess.Popen[bytes] | None = None
        self._runtime: Runtime | None = None
        self._at: tuple[Store, int] | None = None
        self._ran: list[int] = []
        self._note: Callable[[], None] | None = None  # of its end, which is not written yet
        self.ended: End | None = None
        self.code = DONE

    def work(self, store: Store, runtime: Runtime | None) -> None:
        """Train the run until its part of this start has ended; see `ended` and `code`."""
        self._runtime = runtime
        end = None
        while end is None:
            end = self._turn(store)
        self.ended = end

    def terminate(self) -> None:
        """Ask the worker to end, if there is one."""
        if self._child is not None and self._child.poll() is None:
            container.terminate(self._child, self._runtime)

    def stopped(self) -> None:
        """A person has ended the job: the run, if it is not over and has not gone on elsewhere,
        counts as stopped."""
        if self._at is None or self.ended in (End.OVER, End.TURNED_AWAY):
            return  # one that has no attempt yet writes this once it has
        (store, attempt), run = self._at, self._ordered.run
        try:
            asked = notes.stop_requested(store, run, attempt) is not None
            if not asked and head_or_remembered(store, run)[0].attempt == attempt:
                with contextlib.suppress(BadInput):  # it has just ended
                    orders.request_stop(
                        store, run, StopRequest(store.now(), "its job was cancelled")
                    )
        except MimirError as error:
            self.say(f"that the run is stopped cannot be written: {error}")

    def end_unclaimed(self) -> None:
        """Its worker was ended before it took the attempt, and could write no end."""
        if self._at is None or self.ended in (End.OVER, End.TURNED_AWAY):
            return
        try:
            next_attempt.end_stopped(self._at[0], self._ordered.run, self._at[1])
        except MimirError as error:
            self.say(f"that the run is stopped cannot be written: {error}")

    def say(self, sentence: str) -> None:
        self._out(f"{time.strftime('%H:%M:%S')} mimir: {sentence}")

    def _out(self, line: str) -> None:
        self._to_log(self._mark + line)

    def _turn(self, store: Store) -> End | None:
        """One attempt; None if the next one is to begin at once."""
        run, last = self._ordered.run, self._ran[-1] if self._ran else 0
        try:
            turn = self._insist(
                lambda: next_attempt.take(
                    store, run, self._ordered.attempt, self._own, self.say, after=last
                )
            )
        except MimirError as error:
            self._complain(str(error))
            return self._turned_away(store, error.exit_code)
        if not turn.attempt:
            self.say(turn.why)
            return self._over(store, self.code, None)
        self._at = (store, turn.attempt)
        self.code = INTERRUPTED if self._signals.heard else self._train(store, turn)
        self._ran.append(turn.attempt)
        return self._after(store, turn.attempt, self.code)

    def _train(self, store: Store, turn: next_attempt.Turn) -> int:
        spec = AttemptSpec(
            self._url, self._ordered.run, turn.attempt, turn.deadline,
            record=self._ordered.record,
        )  # fmt: skip
        self.say(f"attempt {turn.attempt} begins")
        with contextlib.ExitStack() as stack:
            try:
                child = self._child = self._start(store, spec, stack)
            except MimirError as error:
                self._complain(str(error))
                return error.exit_code
            except OSError as error:  # a full /tmp, no memory for a process: of this node, now
                self._complain(
                    f"node {self._own.node} cannot start attempt {turn.attempt}: {error}"
                )
                return INTERRUPTED
            reader = self._reader(child)
            if self._signals.heard:  # between the look and the start
                self.terminate()
            code = self._wait(child, store, turn.attempt) if self._shared else child.wait()
            if reader is not None:
                reader.join(OUTPUT_WITHIN)
        self.say(f"attempt {turn.attempt} ended with {code}")
        return code if code >= 0 else INTERRUPTED

    def _start(
        self, store: Store, spec: AttemptSpec, stack: contextlib.ExitStack
    ) -> "subprocess.Popen[bytes]":
        out = subprocess.PIPE if self._shared else None
        if self._runtime is None:
            words = [sys.executable, "-m", "mimir.worker", *spec.worker_options()]
            return subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT if self._shared else None,
            )  # fmt: skip
        within = replace(spec, sweep=read_run(store, self._ordered.run).sweep)
        held = stack.enter_context(
            container.prepared(self._runtime, store, within, self.say)
        )  # fmt: skip
        self.say(f"in {self._image}, by {self._runtime.name}")
        return held.start(out)

    def _reader(self, child: "subprocess.Popen[bytes]") -> threading.Thread | None:
        """Passes on what the worker prints, each line with the run's name."""
        pipe = child.stdout
        if pipe is None:
            return None

        def carry(pipe: IO[bytes]) -> None:
            with pipe:
                for line in pipe:
                    self._out(line.decode(errors="replace").rstrip("\r\n"))

        made = threading.Thread(target=carry, args=(pipe,), name="output", daemon=True)
        made.start()
        return made

    def _wait(self, child: "subprocess.Popen[bytes]", store: Store, attempt: int) -> int:
        """The worker's exit code. One that does not obey a request to stop is killed: it holds
        a job that others need, and nobody else can end it alone."""
        asked = 0.0
        while True:
            try:
                return child.wait(timeout=LOOK_EVERY)
            except subprocess.TimeoutExpired:
                pass
            if asked and time.monotonic() - asked > KILLED_AFTER:
                self.say(f"attempt {attempt} was asked to stop and does not: it is killed")
                child.kill()
            elif not asked:
                with contextlib.suppress(MimirError):  # asked for again
                    request = notes.stop_requested(store, self._ordered.run, attempt)
                    asked = time.monotonic() if request is not None else 0.0

    def _after(self, store: Store, attempt: int, code: int) -> End | None:
        if code == INTERRUPTED and not self._signals.heard:
            self._signals.ask()
        fate, run = self._signals.judged(), self._ordered.run
        if fate is Fate.RESTARTED or (fate is Fate.ENDED and code == INTERRUPTED):
            return End.LEAVES
        try:
            more, why = self._insist(lambda: next_attempt.goes_on(store, run, attempt))
            broke = more and self._insist(lambda: next_attempt.broke(store, run, attempt))
        except MimirError as error:
            self.say(f"whether run {run} goes on cannot be read: {error}")
            return self._turned_away(store, INTERRUPTED)
        if code == FENCED:
            self.say(why or f"attempt {attempt} ended with {code}")
            return self._turned_away(store, code)
        if not more or code == BAD_CONFIG:
            self.say(why or f"attempt {attempt} ended with {code}")
            return self._over(store, code, self._ran)
        if not self._shared or self._signals.heard or fate is Fate.ENDED:
            return End.MORE
        if not broke:
            return self._await_others(store, attempt, code)
        self._sleep(AGAIN_AFTER)
        return End.MORE if self._signals.heard else None

    def _await_others(self, store: Store, attempt: int, code: int) -> End:
        """Keep a run that was interrupted here for the job's next start: begun again at once, it
        would meet the same fault. It may be stopped, or go on elsewhere, until then."""
        self.say(f"attempt {attempt} was interrupted: the run waits for the job's next start")
        self.ended = End.MORE  # so that two that wait do not wait for each other
        while not (self._signals.heard or self._alone()):
            self._sleep(LOOK_EVERY)
            with contextlib.suppress(MimirError):  # asked again
                more, why = next_attempt.goes_on(store, self._ordered.run, attempt)
                if not more:
                    self.say(why)
                    return self._over(store, code, self._ran)
        return End.MORE

    def _over(self, store: Store, code: int, ran: list[int] | None) -> End:
        return self._left(store, End.OVER, code, ran)

    def _turned_away(self, store: Store, code: int) -> End:
        return self._left(store, End.TURNED_AWAY, code, self._ran)

    def _left(self, store: Store, end: End, code: int, ran: list[int] | None) -> End:
        """Of a job that goes on for others: that this run's part of it has ended."""
        self.ended, self.code = end, code  # no other part waits for the note
        if self._shared:
            self._note = lambda: next_attempt.leave(store, self._ordered.run, ran, self._own)
            try:
                self._insist(self.note_end, self._alone)
            except MimirError as error:
                self.say(f"that the run's worker has ended cannot be written: {error}")
        return end

    def note_end(self) -> None:
        """Write the note that is not written yet, if there is one. MimirError."""
        if self._note is not None:
            self._note()
            self._note = None

    def give_up(self, store: Store, error: Exception) -> None:
        """End after an error that nobody has thought of, and its worker with it."""
        self.say(f"this start cannot go on with it: {sentence(error)}")
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        if self._at is not None and self._at[1] not in self._ran:
            self._ran.append(self._at[1])
        self._turned_away(store, INTERRUPTED)

    def _insist(self, act: Callable[[], T], enough: Callable[[], bool] = lambda: False) -> T:
        """What it says, tried again in a shared job while the store fails in passing, until there
        is a signal, after which time is short, or `enough`."""
        failed = False
        while True:
            try:
                return act()
            except (StoreDenied, StoreUnfit, NotFound):
                raise
            except StoreError as error:
                if not self._shared or self._signals.heard or enough():
                    raise
                if not failed:
                    self.say(f"the store fails, and is asked again: {error}")
                failed = True
            self._sleep(AGAIN_AFTER)

    def _complain(self, sentence: str) -> None:
        """Say it, also where `squeue` shows it."""
        self.say(sentence)
        self._own.note(f"{self._ordered.run}: {sentence}" if self._shared else sentence)
