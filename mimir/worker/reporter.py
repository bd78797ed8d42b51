"""What leaves the machine while it trains: heartbeat, metrics, and progress for people.

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

from mimir.errors import StoreError
from mimir.runs import layout, notes
from mimir.runs.figures import for_heartbeat
from mimir.runs.notes import Heartbeat
from mimir.runs.parts import PartWriter
from mimir.runs.store import Store
from mimir.text import countdown
from mimir.training.loop import Gauge
from mimir.worker import health

INTERVAL = 5.0
"""Seconds between heartbeats."""
LINE_EVERY = 10.0
"""Seconds between progress lines where there is no terminal."""


@dataclass(frozen=True)
class Place:
    """Where an attempt reports to."""

    store: Store
    run: str
    attempt: int


class Reporter:
    """Reports an attempt until closed.

    Args:
        place: of the attempt.
        gauge: what the loop keeps up to date.
        bar: True draws a progress bar, False prints lines.
    """

    def __init__(self, place: Place, gauge: Gauge, terminal: "Terminal") -> None:
        self._place, self._gauge, self._terminal = place, gauge, terminal
        prefix = layout.attempt_prefix(place.run, place.attempt)
        self._metrics = PartWriter(place.store, prefix, "metrics", on_error=self._complain)
        self._ended = threading.Event()
        self._complained = -math.inf
        self._thread = threading.Thread(target=self._work, name="reporter", daemon=True)
        self._thread.start()

    def emit(self, row: dict[str, Any]) -> None:
        """Take a row of metrics."""
        self._metrics.add(json.dumps(row, allow_nan=False) + "\n")

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
            self._terminal.show(self._gauge)
            if ended or time.monotonic() - sent >= INTERVAL:
                sent = time.monotonic()
                try:
                    self._send()
                except Exception as error:  # noqa: BLE001 - said aloud; reports must go on
                    self._complain(error)
            if ended:
                return

    def _send(self) -> None:
        gauge, place = self._gauge, self._place
        # Before the store, which may be away: that is no sign of death.
        health.beat()
        self._metrics.flush()
        try:
            notes.beat(place.store, place.run, place.attempt, Heartbeat(
                time=time.time(), step=gauge.step, total_steps=gauge.total, epoch=gauge.epoch,
                rate=gauge.rate, loss=gauge.loss, val=gauge.val, pid=os.getpid(),
                host=os.uname().nodename, interval_s=INTERVAL, device=gauge.device,
                figures=for_heartbeat(gauge.figures),
            ))  # fmt: skip
        except StoreError as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        # An outage is one line a minute, not one for each heartbeat.
        if time.monotonic() - self._complained > 60:
            self._complained = time.monotonic()
            self._terminal.say(f"a report was not written: {error}")


class Terminal:
    """Lines and progress for people. Never raises: nobody may be reading."""

    def __init__(self, out: TextIO, clock: float = 0.0) -> None:
        self._out = out
        self._lined = clock
        self._bar: Any = None
        self._drawn = os.environ.get("MIMIR_PROGRESS") == "bar"

    def say(self, line: str) -> None:
        """Print a line above the bar, if there is one."""
        try:
            if self._bar is not None:
                self._bar.clear()
            print(line, file=self._out, flush=True)
        except OSError:
            self._out = open(os.devnull, "w")  # noqa: SIM115 - lives as long as the process

    def show(self, gauge: Gauge) -> None:
        """Show progress: redraw the bar, or print a line now and then."""
        if not gauge.total:
            return
        try:
            if self._drawn:
                self._draw(gauge)
            elif gauge.rate and time.monotonic() - self._lined >= LINE_EVERY:
                self._lined = time.monotonic()
                self.say(line_of(gauge))
        except OSError:
            self._drawn = False

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _draw(self, gauge: Gauge) -> None:
        if self._bar is None:
            self._bar = tqdm(
                total=gauge.total, initial=gauge.step, unit="step", file=self._out,
                ncols=int(os.environ.get("COLUMNS", "100")), smoothing=0.1, mininterval=0,
            )  # fmt: skip
        if gauge.loss is not None:
            shown = f"loss {gauge.loss:.3f}"
            if gauge.val is not None:
                shown += f" val {gauge.val:.3f}"
            if gauge.tokens_per_s:
                shown += f" {gauge.tokens_per_s / 1000:.1f}k tok/s"
            self._bar.set_postfix_str(shown, refresh=False)
        self._bar.n = gauge.step
        self._bar.refresh()


def line_of(gauge: Gauge) -> str:
    """Progress as one line."""
    parts = [f"step {gauge.step}/{gauge.total}", f"epoch {gauge.epoch:.2f}"]
    if gauge.loss is not None:
        parts.append(f"loss {gauge.loss:.4f}")
    if gauge.val is not None:
        parts.append(f"val {gauge.val:.4f}")
    if gauge.rate:
        parts.append(f"{gauge.rate:.1f} steps/s")
        if gauge.tokens_per_s:
            parts.append(f"{gauge.tokens_per_s:.0f} tokens/s")
        parts.append(f"ETA {countdown((gauge.total - gauge.step) / gauge.rate)}")
    return "  ".join(parts)


def stdout() -> Terminal:
    return Terminal(sys.stdout)
