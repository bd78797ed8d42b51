"""Supervises one attempt on a machine: runs it in a child process and records how it ended.

It runs the attempt in a child process, carries its output to the store and to its own
standard output, passes on requests to stop, holds it to its deadline, and writes how it
ended. Started again for the same attempt, it finds the outcome and only ends: RunPod and
Vast restart a container whose process has exited.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import IO

from mimir import cli
from mimir.errors import (
    BAD_CONFIG,
    DONE,
    FENCED,
    HOST_UNFIT,
    INTERRUPTED,
    NON_FINITE,
    BadInput,
    MimirError,
    StoreError,
    sentence,
)
from mimir.runs import layout, notes
from mimir.runs.notes import Outcome
from mimir.runs.parts import PartWriter
from mimir.runs.record import read_run
from mimir.runs.status import read_head
from mimir.runs.store import Store, open_store
from mimir.text import one_line
from mimir.worker import delivered, exchange, notices, webhook
from mimir.worker.alert_log import AlertLog
from mimir.worker.telemetry import Sampler

STOP_POLL = 2.0
"""Seconds between looks at stop request and deadline."""
LOG_EVERY = 5.0
"""Seconds between parts of the log: a night of them stays in the thousands."""
GRACE = 900.0
"""Seconds that an attempt has for its last commit, before it is killed."""
OUTCOME_TIMEOUT = 60.0
"""Seconds after which writing the outcome is given up."""
_PASSED_ON = (DONE, INTERRUPTED, FENCED, NON_FINITE, BAD_CONFIG)


class Worker:
    """One attempt and its child process.

    Args:
        store, run, attempt: what to work on.
        record: SHA-256 of run.json, "" if it is not known.
        deadline: unix seconds, by the store's clock, at which to commit and end; 0: none.
        timeout: seconds that the store may stay away; 0: the attempt's own default.
        out: takes the child's output as it comes.
        interactive: `out` is a terminal, so the child draws a progress bar.
    """

    def __init__(
        self, store: Store, run: str, attempt: int, deadline: float = 0.0, timeout: float = 0.0,
        *,
        out: Callable[[bytes], None], interactive: bool = False, record: str = "",
    ) -> None:  # fmt: skip
        self.store, self.run, self.attempt, self.deadline = store, run, attempt, deadline
        self._timeout, self._record_sha256 = timeout, record
        self._child: subprocess.Popen[bytes] | None = None
        self._out, self._interactive = out, interactive
        self._ahead = 0.0  # the store's clock before this process's monotonic one, in s
        self._signal = signal.SIGTERM
        self._wish = ("", "")  # why the attempt is to end, and its cause as in Outcome
        self._asked_at = 0.0
        self._unasked = threading.Lock()
        self._last_line = ""
        self._log = PartWriter(store, layout.attempt_prefix(run, attempt), "log")
        self._alerts = AlertLog(store, run, attempt, self._now)
        self._sampler = Sampler(store.url, self._note, self._alerts, self._now)

    def work(self) -> int:
        """Run the attempt to its end; the worker's exit code."""
        try:
            read_run(self.store, self.run)
            read_head(self.store, self.run)
            over = notes.read_outcome(self.store, self.run, self.attempt)
        except BadInput as error:
            # Of another format, for one: what this Mimir wrote there, the other could not read.
            self._tell(str(error))
            return BAD_CONFIG
        if over is not None:
            self._tell(f"attempt {self.attempt} of {self.run} has ended already: {over.reason}")
            return over.exit_code if over.exit_code in _PASSED_ON else INTERRUPTED
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        signal.signal(notices.CHECKPOINT, signal.SIG_IGN)  # a cluster may send it to all of a job
        self._set_clock()
        short = self._short_of_the_order()
        if short:
            self._wish = (f"the machine is less than what was ordered: {short}", "host")
            self._log.add(f"{time.strftime('%H:%M:%S')} {self._wish[0]}\n")
            self._record(INTERRUPTED, self._wish[0])
            return INTERRUPTED
        try:
            with notices.kept():
                child = self._child = self._start()
            assert child.stdout is not None
            reader = threading.Thread(target=self._carry, args=(child.stdout,), daemon=True)
            reader.start()
            killed = self._watch(child)
        finally:
            self._sampler.close()
        reader.join(timeout=30)
        return self._end(child.returncode, killed)

    def _short_of_the_order(self) -> str:
        """In what this machine falls short of its order, "" in nothing."""
        try:
            order = notes.read_order(self.store, self.run, self.attempt)
        except MimirError as error:
            self._tell(f"the machine is not compared with its order: {error}")
            return ""
        if order is None:
            return ""
        self._sampler.expected = order.expected
        return delivered.short(self.store, self.run, self.attempt, order.promised, self._tell)

    def _start(self) -> "subprocess.Popen[bytes]":
        environment = dict(os.environ, PYTHONUNBUFFERED="1")
        environment.pop("MIMIR_PROGRESS", None)
        environment.pop(webhook.FROM_MACHINE, None)
        environment[exchange.VARIABLE] = self._sampler.open()
        if self._interactive:
            environment["MIMIR_PROGRESS"] = "bar"
            environment["COLUMNS"] = str(shutil.get_terminal_size((100, 24)).columns)
        more = ["--patience", str(self._timeout)] if self._timeout else []
        more += ["--record", self._record_sha256] if self._record_sha256 else []
        return subprocess.Popen(
            [
                sys.executable, "-m", "mimir.worker.attempt", "--store", self.store.url,
                "--run", self.run, "--attempt", str(self.attempt),
                "--parent", str(os.getpid()), *more,
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=environment,
        )  # fmt: skip

    def _watch(self, child: "subprocess.Popen[bytes]") -> bool:
        """Wait for the child's end; True if it had to be killed."""
        ended = threading.Event()
        threading.Thread(target=self._talk, args=(ended,), name="talk", daemon=True).start()
        watched = notices.Notices(
            lambda why: self._settle(why, "signal"), self._at_risk, self._note
        )
        threading.Thread(target=watched.watch, args=(ended,), name="notices", daemon=True).start()
        self._sampler.start(ended, child.pid)
        try:
            while True:
                try:
                    child.wait(timeout=STOP_POLL)
                    return False
                except subprocess.TimeoutExpired:
                    pass
                if self.deadline and self._now() >= self.deadline:
                    self._settle("the deadline has come", "deadline")
                if not self._wish[0]:
                    continue
                if not self._asked_at:
                    self._ask(child)
                elif time.monotonic() - self._asked_at > GRACE:
                    child.kill()
                    child.wait()
                    return True
        finally:
            ended.set()

    def _talk(self, ended: threading.Event) -> None:
        """Send the log and look for a request to stop.

        In a thread of its own: a store may take minutes to answer, and a deadline does not wait.
        """
        sent, complaint = -LOG_EVERY, ""
        while not ended.wait(STOP_POLL):
            try:
                if time.monotonic() - sent >= LOG_EVERY:
                    sent = time.monotonic()
                    self._log.flush()
                    self._set_clock()
                    self._alerts.flush()
                request = notes.stop_requested(self.store, self.run, self.attempt)
            except Exception as error:  # noqa: BLE001 - asked again in two seconds
                if not isinstance(error, StoreError) and str(error) != complaint:
                    complaint = str(error)
                    self._tell(f"a request to stop could not be read: {sentence(error)}")
                continue
            if request is not None:
                why = f" ({request.reason})" if request.reason else ""
                self._settle(f"asked to stop{why}", "stop")

    def _set_clock(self) -> None:
        self._ahead = self.store.now() - time.monotonic()

    def _now(self) -> float:
        """Unix s by the store's clock, also while the store is away."""
        return time.monotonic() + self._ahead

    def _settle(self, why: str, cause: str) -> None:
        """Let the attempt end, at once, for this reason unless there is one already."""
        if not self._wish[0]:
            self._wish = (why, cause)
        if self._child is not None:
            self._ask(self._child)

    def _at_risk(self, why: str) -> None:
        """Ask for a checkpoint now, for this reason; training goes on."""
        self._note(f"{why}: a checkpoint is asked for, and training goes on")
        self._alerts.add("warning", "notice", why)
        if self._child is not None:
            self._child.send_signal(notices.CHECKPOINT)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        # At once: whoever takes the machine away gives it half a minute.
        why, again = f"{signal.Signals(number).name} from outside", ""
        if number == signal.SIGINT:
            # To the child as what it is, which a terminal has sent it already.
            self._signal, why = signal.SIGINT, "Ctrl-C"
            again = f"; a second one after {notices.TOGETHER:.0f} s ends without it"
        if self._interactive and not self._wish[0]:
            said = f"{why}: commits a checkpoint, then ends{again}"
            # Not from here: the handler may have interrupted a write to the same stream.
            threading.Thread(target=self._tell, args=(said,), daemon=True).start()
        self._settle(why, "signal")

    def _ask(self, child: "subprocess.Popen[bytes]") -> None:
        """Ask the child to end, once: to a second signal it has no answer."""
        if self._unasked.acquire(blocking=False):
            self._asked_at = time.monotonic()
            child.send_signal(self._signal)

    def _carry(self, pipe: IO[bytes]) -> None:
        """Pass the child's bytes on; finished lines go to the log, the progress bar does not."""
        line = b""
        with pipe:
            while chunk := os.read(pipe.fileno(), 65536):
                self._out(chunk)
                line += chunk
                *whole, line = line.split(b"\n")
                for text in whole:
                    shown = text.rsplit(b"\r", 1)[-1].decode(errors="replace")
                    if shown.strip():
                        self._last_line = shown.strip()
                        self._log.add(f"{time.strftime('%H:%M:%S')} {shown}\n")

    def _end(self, code: int, killed: bool) -> int:
        why = self._wish[0]
        if code == HOST_UNFIT:
            code, self._wish = INTERRUPTED, (why, "host")
        if killed:
            reason = f"{why}; it did not end within {GRACE:.0f} s and was killed"
        elif code < 0:
            name = signal.Signals(-code).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            reason = f"the training process was killed by {name}{hint}"
        else:
            reason = self._last_line or f"exit code {code}"
            if why and why not in reason:
                reason = f"{why}: {reason}"
        written = code if code >= 0 else INTERRUPTED
        self._log.add(f"{time.strftime('%H:%M:%S')} attempt {self.attempt} ended: {reason}\n")
        self._record(written, reason)
        if code != FENCED:
            stopped = self._wish[1] == "stop"
            webhook.ended(self.run, self.attempt, written, reason, self._tell, stopped=stopped)
        return written if written in _PASSED_ON else INTERRUPTED

    def _record(self, code: int, reason: str) -> None:
        """Write the final log and outcome; retry for a while, as the store may be away."""
        until = time.monotonic() + min(self._timeout or OUTCOME_TIMEOUT, OUTCOME_TIMEOUT)
        pause = 1.0
        while True:
            try:
                head = read_head(self.store, self.run)
                if not (self._log.flush() and self._alerts.flush()):
                    raise StoreError("the log is not written")
                # Fenced: the attempt is another process's, whose outcome this is not to write.
                if code != FENCED:
                    outcome = Outcome(code, reason, self._now(), head.step, self._wish[1])
                    notes.record_outcome(self.store, self.run, self.attempt, outcome)
                return
            except BadInput as error:
                self._tell(f"the outcome is not written: {error}")
                return
            except MimirError as error:
                self._tell(f"the outcome is not written yet: {error}")
                if time.monotonic() >= until:
                    return
                time.sleep(pause)
                pause *= 2

    def _note(self, line: str) -> None:
        """Tell it, and have it in the log."""
        self._log.add(f"{time.strftime('%H:%M:%S')} {line}\n")
        self._tell(line)

    def _tell(self, line: str) -> None:
        self._out(one_line(line).encode() + b"\n")


def to_stdout(chunk: bytes) -> None:
    """Write bytes to standard output at once, as long as somebody listens."""
    try:
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def work(
    *, run: str, attempt: int, store: str, deadline: float = 0.0, patience: float = 0.0,
    record: str = "",
) -> int:  # fmt: skip
    """Work on one attempt of a run, as a rented machine does.

    Example:
        python -m mimir.worker --run demo --attempt 1 --store file:///data/runs

    Args:
        run: name of the run.
        attempt: number of the attempt, which the launcher has raised.
        store: where the run lives.
        deadline: unix time in seconds at which to commit and end; 0: none.
        patience: seconds without a store after which training gives up; 0: half an hour.
        record: SHA-256 of the run's run.json, which must have it; empty: not known.
    """
    opened = open_store(store)
    worker = Worker(opened, run, attempt, deadline, patience, out=to_stdout, record=record)
    return worker.work()


def main() -> None:
    """The command line of `python -m mimir.worker`."""
    cli.run("python -m mimir.worker", work)
