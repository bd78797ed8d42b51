"""Reports a running attempt: heartbeat and metrics to the store, progress to the terminal.

One thread, woken a few times a second. A store that fails costs a line in the log and
nothing else: rows of metrics wait for the next flush.
"""

import json
import math
import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, TextIO

from tqdm import tqdm

from mimir.errors import Corrupt, OtherFormat, StoreError
from mimir.runs import layout, notes
from mimir.runs.figures import for_heartbeat
from mimir.runs.notes import Heartbeat
from mimir.runs.parts import PartWriter
from mimir.runs.store import Store
from mimir.runs.telemetry import Telemetry
from mimir.text import countdown, visible
from mimir.training.loop import ProgressSnapshot
from mimir.worker import health
from mimir.worker.exchange import Card, Exchange, Training

INTERVAL = 5.0
"""Seconds between heartbeats."""
REPEATED = 3
"""Heartbeats that repeat the machine's last figures while the supervisor gives no new ones."""
LINE_EVERY = 10.0
"""Seconds between progress lines where there is no terminal."""


@dataclass(frozen=True)
class Destination:
    """Where an attempt reports to."""

    store: Store
    run: str
    attempt: int


class Reporter:
    """Reports an attempt until closed.

    Args:
        destination: where the attempt reports to.
        progress: the snapshot that the loop keeps up to date.
        terminal: shows progress, as a bar or as lines.
        card: the GPU that trains, None for none.
        supervisor: takes how far training is and gives the machine's figures; None for nobody.
    """

    def __init__(
        self, destination: Destination, progress: ProgressSnapshot, terminal: "Terminal",
        card: Card | None = None, supervisor: Exchange | None = None,
    ) -> None:  # fmt: skip
        self._destination, self._progress, self._terminal = destination, progress, terminal
        self._card, self._supervisor = card, supervisor
        self._columns: dict[str, float] = {}  # of the next row
        self._figures: Telemetry | None = None
        self._missed = 0  # heartbeats since there were new ones
        prefix = layout.attempt_prefix(destination.run, destination.attempt)
        self._metrics = PartWriter(destination.store, prefix, "metrics", on_error=self._complain)
        self._ended = threading.Event()
        self._began = time.monotonic()
        self._complained = -math.inf
        self._thread = threading.Thread(target=self._work, name="reporter", daemon=True)
        self._thread.start()

    def emit(self, row: dict[str, Any]) -> None:
        """Take a row of metrics."""
        columns, self._columns = self._columns, {}
        self._metrics.add(json.dumps({**row, **columns}, allow_nan=False) + "\n")

    def flush(self) -> bool:
        """Send the rows of metrics now; False if they must wait.

        A commit asks for it: the rows up to a committed step are nobody's to write again.
        """
        return self._metrics.flush()

    def close(self) -> None:
        """Send what is left."""
        self._ended.set()
        self._thread.join(timeout=60)
        self._terminal.close()

    def _work(self) -> None:
        sent = 0.0
        while True:
            ended = self._ended.wait(0.25)
            self._terminal.show(self._progress)
            if ended or time.monotonic() - sent >= INTERVAL:
                sent = time.monotonic()
                try:
                    self._send()
                except Exception as error:  # noqa: BLE001 - logged; reports must go on
                    self._complain(error)
            if ended:
                return

    def _send(self) -> None:
        now, to = self._progress, self._destination
        # Before the store, which may be away: that is no sign of death.
        health.touch_heartbeat()
        telemetry = self._exchanged()
        self._metrics.flush()
        try:
            notes.write_heartbeat(to.store, to.run, to.attempt, Heartbeat(
                time=time.time(), step=now.step, total_steps=now.total, epoch=now.epoch,
                rate=now.rate, loss=now.loss, val=now.val, pid=os.getpid(),
                host=os.uname().nodename, interval_s=INTERVAL, device=now.device,
                figures=for_heartbeat(now.figures), execution=now.execution,
                expected_end=now.expected_end, checkpoint_s=now.checkpoint_s,
                commit_s=now.commit_s, training_s=time.monotonic() - self._began,
                telemetry=telemetry, torch=now.torch, cuda=now.cuda, python=now.python,
            ))  # fmt: skip
        except StoreError as error:
            self._complain(error)

    def _exchanged(self) -> Telemetry | None:
        """The machine's figures since the last heartbeat, from the supervisor, who samples them."""
        now = self._progress
        if self._supervisor is None:
            return None
        try:
            told = Training(now.step, now.rate, now.execution, self._card)
            self._supervisor.tell(told)
            found = self._supervisor.take()
        except (OSError, Corrupt, OtherFormat) as error:
            self._complain(error)
            return None
        self._missed += 1
        if found is not None:
            self._figures, self._columns, self._missed = found, found.as_row(), 0
        return self._figures if self._missed <= REPEATED else None

    def _complain(self, error: Exception) -> None:
        # An outage is one line a minute, not one for each heartbeat.
        if time.monotonic() - self._complained > 60:
            self._complained = time.monotonic()
            self._terminal.say(f"a report was not written: {error}")


class Terminal:
    """Lines and progress for people. Never raises: nobody may be reading."""

    def __init__(self, out: TextIO, clock: float = 0.0) -> None:
        self._out = out
        self._lined, self._step = clock, -1
        self._bar: Any = None
        self._interactive = os.environ.get("MIMIR_PROGRESS") == "bar"

    def say(self, line: str) -> None:
        """Print a line above the bar, if there is one."""
        try:
            if self._bar is not None:
                self._bar.clear()
            print(visible(line), file=self._out, flush=True)
        except OSError:
            self._out = open(os.devnull, "w")  # noqa: SIM115 - lives as long as the process

    def show(self, progress: ProgressSnapshot) -> None:
        """Show progress: redraw the bar, or print a line now and then."""
        if not progress.total:
            return
        try:
            if self._interactive:
                self._draw(progress)
            elif progress.rate and progress.step != self._step and self._due():
                self._lined, self._step = time.monotonic(), progress.step
                self.say(line_of(progress))
        except OSError:
            self._interactive = False

    def _due(self) -> bool:
        return time.monotonic() - self._lined >= LINE_EVERY

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _draw(self, progress: ProgressSnapshot) -> None:
        if self._bar is None:
            self._bar = tqdm(
                total=progress.total, initial=progress.step, unit="step", file=self._out,
                ncols=int(os.environ.get("COLUMNS", "100")), smoothing=0.1, mininterval=0,
            )  # fmt: skip
        if progress.loss is not None:
            shown = f"loss {progress.loss:.3f}"
            if progress.val is not None:
                shown += f" val {progress.val:.3f}"
            if progress.tokens_per_s:
                shown += f" {progress.tokens_per_s / 1000:.1f}k tok/s"
            self._bar.set_postfix_str(shown, refresh=False)
        self._bar.n = progress.step
        self._bar.refresh()


def line_of(progress: ProgressSnapshot) -> str:
    """Progress as one line."""
    parts = [f"step {progress.step}/{progress.total}", f"epoch {progress.epoch:.2f}"]
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.4f}")
    if progress.val is not None:
        parts.append(f"val {progress.val:.4f}")
    if progress.rate:
        parts.append(f"{progress.rate:.1f} steps/s")
        if progress.tokens_per_s:
            parts.append(f"{progress.tokens_per_s:.0f} tokens/s")
        parts.append(f"ETA {countdown((progress.total - progress.step) / progress.rate)}")
        if progress.expected_end is not None:
            left = countdown((progress.expected_end - progress.step) / progress.rate)
            parts.append(f"or {left} if no validation is better")
    return "  ".join(parts)


def stdout() -> Terminal:
    return Terminal(sys.stdout)
