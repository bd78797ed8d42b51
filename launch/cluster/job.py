"""The program that a batch job becomes: `python -m launch.cluster.job`.

It opens the store, takes the attempt of this start (next_attempt), runs the worker as its child,
hands on the signals of the cluster, and where the run shall go on asks Slurm to start the job
again. Training has none of its rights. What was seen on Slurm 22.05 and decided its order:

- a job that ends by itself within a preemption's grace is not started again: it must ask;
- `scontrol requeue` brings a job back that a person has cancelled: ask first what becomes of it;
- after `scontrol requeue` the job must stay until it is ended.
"""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

from launch.cluster import container, next_attempt
from launch.cluster.container import Runtime
from launch.contract.errors import ProviderError
from launch.contract.provider import AttemptSpec
from launch.providers.slurm.options import SIGNALS
from launch.providers.slurm.own_job import Fate, OwnJob
from mimir import cli
from mimir.errors import BAD_CONFIG, DONE, FENCED, INTERRUPTED, BadInput, MimirError, StoreError
from mimir.runs import notes, orders
from mimir.runs.notes import StopRequest
from mimir.runs.record import read_run
from mimir.runs.status import read_head
from mimir.runs.store import Store, open_store

ENDED_WITHIN = 600.0
"""Seconds that a job waits to be ended after it asked to be started again."""
ASK_TRIES = 12
"""Questions to Slurm about the job's fate, five seconds apart, while its controller is away."""


class Job:
    """One start of a job.

    Args:
        own: the job as Slurm shows it.
        url, run, first: the attempt that it was ordered for.
        image: in which it trains, "" for none.
        out: takes sentences for the job's log.
    """

    def __init__(
        self, own: OwnJob, url: str, run: str, first: int, record: str = "",
        image: str = "", out: Callable[[str], None] = print,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._own, self._url, self._run, self._first = own, url, run, first
        self._record, self._out, self._sleep = record, out, sleep
        self._image = image
        self._runtime: Runtime | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._signalled = ""
        self._at: tuple[Store, int] | None = None
        self._judging: list[threading.Thread] = []
        self._asking = threading.Lock()
        self._heard = 0
        self._fate = Fate.GOES

    def listen(self) -> None:
        for name in SIGNALS:
            signal.signal(getattr(signal, f"SIG{name}"), self._hear)

    def work(self) -> int:
        """Run this start to its end; the job's exit code."""
        self._say(f"job {self._own.id} on {self._own.node}, start {self._own.restarts + 1}")
        try:
            store = self._open()
            if self._image:
                self._runtime = container.find(self._image, self._own.node)
            turn = next_attempt.take(store, self._run, self._first, self._own, self._say)
        except MimirError as error:
            self._say(str(error))
            self._own.note(str(error))
            return error.exit_code
        if not turn.attempt:
            self._say(turn.why)
            self._end_chain()
            return DONE
        self._at = (store, turn.attempt)
        code = INTERRUPTED if self._signalled else self._train(store, turn)
        return self._after(store, turn.attempt, code)

    def _open(self) -> Store:
        """The store, of which the run must be seen from this node."""
        try:
            store = open_store(self._url)
            read_head(store, self._run)
        except (BadInput, StoreError, OSError) as error:
            raise BadInput(
                f"node {self._own.node} does not reach the store {self._url} ({error}): choose a "
                "folder that the nodes share, or an s3:// store that they reach"
            ) from None
        return store

    def _train(self, store: Store, turn: next_attempt.Turn) -> int:
        spec = AttemptSpec(
            self._url, self._run, turn.attempt, turn.deadline, record=self._record
        )  # fmt: skip
        self._say(f"attempt {turn.attempt} begins")
        with contextlib.ExitStack() as stack:
            try:
                self._child = self._start(store, spec, stack)
            except MimirError as error:
                self._say(str(error))
                self._own.note(str(error))
                return error.exit_code
            except OSError as error:  # a full /tmp, no memory for a process: of this node, now
                why = f"node {self._own.node} cannot start attempt {turn.attempt}: {error}"
                self._say(why)
                self._own.note(why)
                return INTERRUPTED
            if self._signalled:  # between the look and the start
                container.terminate(self._child, self._runtime)
            code = self._child.wait()
        self._say(f"attempt {turn.attempt} ended with {code}")
        return code if code >= 0 else INTERRUPTED

    def _start(
        self, store: Store, spec: AttemptSpec, stack: contextlib.ExitStack
    ) -> "subprocess.Popen[bytes]":
        if self._runtime is None:
            words = [sys.executable, "-m", "mimir.worker", *spec.worker_options()]
            return subprocess.Popen(words, stdin=subprocess.DEVNULL)
        within = replace(spec, sweep=read_run(store, self._run).sweep)
        held = stack.enter_context(
            container.prepared(self._runtime, store, within, self._say)
        )  # fmt: skip
        self._say(f"in {self._image}, by {self._runtime.name}")
        return held.start()

    def _after(self, store: Store, attempt: int, code: int) -> int:
        if code == INTERRUPTED and not self._judging:
            self._judge(self._heard)  # Slurm's signal may have reached the training first
        fate = self._judged()
        if fate is Fate.RESTARTED or (fate is Fate.ENDED and code == INTERRUPTED):
            self._leave(fate)
            return code
        try:
            more, why = next_attempt.goes_on(store, self._run, attempt)
        except MimirError as error:
            self._say(f"whether run {self._run} goes on cannot be read: {error}")
            return INTERRUPTED
        if not more or code in (FENCED, BAD_CONFIG):
            self._say(why or f"attempt {attempt} ended with {code}")
            if code != FENCED:
                self._end_chain()
            return code
        return self._go_on(code)

    def _go_on(self, code: int) -> int:
        try:
            waiting = self._own.others()
        except (ProviderError, BadInput):
            waiting = []
        if waiting:
            self._say(f"job {waiting[0]} of the chain goes on")
            return code
        self._judge(self._heard)  # it may have been cancelled since the signal, or have had none
        for name in SIGNALS:  # Slurm's end of this start, which nothing here is to survive
            signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_DFL)
        fate = self._judged()
        if fate is not Fate.GOES:
            self._leave(fate)
            return code
        refused = self._own.requeue()
        if refused:
            sentence = (
                f"Slurm does not start the job again ({refused}): go on by `resume`; for a site "
                "that starts none again say --no-requeue --chain=N"
            )
            self._say(sentence)
            self._own.note(sentence)
            return code
        self._say("asked to be started again")
        self._sleep(ENDED_WITHIN)
        return code

    def _judge(self, heard: int) -> None:
        """What becomes of the job, and at once, because a cancelled one has little time, that the
        run counts as stopped where a person has ended it.

        heard: signals until now. Of several only the newest need be asked for, and its answer
        stays.
        """
        with self._asking:
            for _ in range(ASK_TRIES):
                if heard < self._heard:
                    return
                self._fate = self._own.fate()
                if self._fate is not Fate.UNKNOWN:
                    break
                self._sleep(5.0)
            if self._fate is Fate.ENDED:
                self._stopped()

    def _judged(self) -> Fate:
        """What becomes of the job, once each signal until now is judged."""
        for each in self._judging:
            each.join()
        return self._fate

    def _leave(self, fate: Fate) -> None:
        """What is left to do for a job that does not ask to be started again."""
        if fate is Fate.ENDED:
            self._say("the job was cancelled: the run is stopped")
            self._stopped()
            self._end_unclaimed()
            self._end_chain()
        elif fate is Fate.RESTARTED:
            self._say("its cluster starts the job again")
        else:
            self._say("Slurm does not tell whether the job was cancelled: it does not go on")

    def _stopped(self) -> None:
        if self._at is None:
            return  # it has no attempt yet, and writes this once it has one
        store, attempt = self._at
        try:
            if notes.stop_requested(store, self._run, attempt) is None:
                orders.request_stop(
                    store, self._run, StopRequest(store.now(), "its job was cancelled")
                )
        except MimirError as error:
            self._say(f"that the run is stopped cannot be written: {error}")

    def _end_unclaimed(self) -> None:
        """Its worker was ended before it took the attempt, and could write no end."""
        assert self._at is not None
        try:
            store, attempt = self._at
            next_attempt.end_stopped(store, self._run, attempt)
        except MimirError as error:
            self._say(f"that the run is stopped cannot be written: {error}")

    def _end_chain(self) -> None:
        """Cancel the jobs that wait behind this one, which would find nothing to do."""
        try:
            for number in self._own.others():
                self._own.cancel(number)
                self._say(f"job {number} of the chain is cancelled")
        except (ProviderError, BadInput) as error:
            self._say(f"what waits behind this job cannot be read: {error}")

    def _hear(self, number: int, frame: FrameType | None) -> None:
        """Ends the worker at the first signal; asks at each one what becomes of the job, because a
        person may cancel it while the worker writes its last checkpoint."""
        if not self._signalled:
            self._signalled = signal.Signals(number).name
            if self._child is not None and self._child.poll() is None:
                container.terminate(self._child, self._runtime)
        self._heard += 1
        judge = threading.Thread(
            target=self._judge, args=(self._heard,), name="judge", daemon=True
        )  # fmt: skip
        judge.start()
        self._judging.append(judge)

    def _say(self, sentence: str) -> None:
        self._out(f"{time.strftime('%H:%M:%S')} mimir: {sentence}")


def to_log(line: str) -> None:
    print(line, flush=True)


def work(*, store: str, run: str, attempt: int, record: str = "", image: str = "") -> int:
    """Look after a run in a batch job, as its script does.

    Args:
        store: where the run lives.
        run: name of the run.
        attempt: that the job was ordered for.
        record: SHA-256 of the run's run.json; empty: not known.
        image: a container image to train in; empty: the Python of this program.

    Example:
        python -m launch.cluster.job --store file:///shared/runs --run demo --attempt 1
    """
    job = Job(OwnJob.here(), store, run, attempt, record, image, out=to_log)
    job.listen()
    return job.work()


if __name__ == "__main__":
    cli.run("python -m launch.cluster.job", work)
    sys.exit()
