"""`status --watch`: what a person sees while runs go on, and what it costs their store."""

import io
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from launch.supervise.live_view import LOOK_EVERY, LiveView
from launch.ui.live import LiveScreen, fitted, sparkline
from mimir.errors import BadInput, Corrupt, StoreDenied, StoreError
from mimir.runs import notes, remove
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.notes import Heartbeat
from mimir.runs.parts import PartWriter
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import Versioned
from tests.launch.conftest import Clock
from tests.runs.memory import CountingStore

MOST = 2.0
"""Requests a second that a person who looks may cost."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Ground(CountingStore):
    """Two runs that train; what happens is asked at each sleep. away: it does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.time, self.away = Clock(), ""
        self.clock = lambda: 1e9 + self.time.now
        self.attempts: list[Attempt] = []
        for name in ("one", "two"):
            create_run(self, RunRecord(name, "smoke", {}, 0, 1.0))
            number = raise_attempt(self, name, sleep=self.time.sleep)
            self.attempts.append(Attempt.claim(self, name, number))
        self.beat(0)

    def beat(self, step: int) -> None:
        for attempt in self.attempts:
            beat = Heartbeat(1.0, step, 100, rate=2.0, loss=3.0 - step / 100, val=2.9)
            notes.write_heartbeat(self, attempt.run, 1, beat)

    def read(self, key: str, *, limit: int = 1 << 20) -> Versioned | None:
        found = super().read(key, limit=limit)
        if self.away == "denied":
            raise StoreDenied("the key was revoked")
        if self.away:
            raise StoreError("503 Slow Down")
        return found

    def watch(self, stream: io.StringIO, then: Callable[[int], None]) -> None:
        first = self.time.sleeps
        self.time.at_sleep = lambda number: then(number - first)
        with LiveScreen(stream) as screen:
            LiveView(self, ["one", "two"], screen, sleep=self.time.sleep, clock=self.time).watch()


def test_it_asks_little_and_ends_with_the_runs() -> None:
    ground, out = Ground(), io.StringIO()
    began, before = ground.time.now, len(ground.requests)
    own: list[int] = []

    def then(number: int) -> None:
        at = len(ground.requests)
        ground.beat(number)
        if number == 40:
            for attempt in ground.attempts:
                attempt.finish("done")
        own.append(len(ground.requests) - at)  # the machines' requests, and not the watcher's

    ground.watch(out, then)
    asked = len(ground.requests) - before - sum(own)
    assert ground.time.now - began >= 40 * LOOK_EVERY
    assert asked / (ground.time.now - began) < MOST
    shown = out.getvalue()
    assert "one: running" in shown
    assert "two: done" in shown
    assert re.search(r"loss +2\.\d+  [▁▂▃▄▅▆▇█]{3}", shown)
    assert "\x1b" not in shown  # a pipe gets plain lines, each of them once
    lines = shown.splitlines()
    assert lines.count("two: done") == 1


def test_an_outage_is_shown_and_outlived() -> None:
    ground, out = Ground(), io.StringIO()

    def then(number: int) -> None:
        ground.away = "503" if 2 <= number < 5 else ""
        if number == 6:
            for attempt in ground.attempts:
                attempt.finish("done")

    ground.watch(out, then)
    assert len(re.findall(r"since [\d:]{8} the store does not answer: 503", out.getvalue())) == 1
    assert "two: done" in out.getvalue()


def test_a_store_that_is_not_mounted_for_a_while_is_outlived() -> None:
    ground, out = Ground(), io.StringIO()
    kept = ground.objects

    def then(number: int) -> None:
        ground.objects = {} if 2 <= number < 5 else kept
        if number == 6:
            for attempt in ground.attempts:
                attempt.finish("done")

    ground.watch(out, then)
    said = r"since [\d:]{8} there is no run (one|two) in .*; is its store mounted\?"
    assert len(re.findall(said, out.getvalue())) == 1
    assert "two: done" in out.getvalue()


def test_a_run_that_is_removed_ends_it() -> None:
    ground = Ground()

    def then(number: int) -> None:
        it = remove.target(ground, "two")
        remove.mark(ground, it, "rm")
        remove.bury(ground, it, {})
        ground.objects = {key: each for key, each in ground.objects.items() if key[:4] != "two/"}

    with pytest.raises(BadInput, match="run two is being removed"):
        ground.watch(io.StringIO(), then)


def test_what_asking_again_cannot_mend_ends_it() -> None:
    ground = Ground()
    with pytest.raises(StoreDenied):
        ground.watch(io.StringIO(), lambda number: setattr(ground, "away", "denied"))
    ground = Ground()
    ground.objects = {key: each for key, each in ground.objects.items() if "two" not in key}
    with pytest.raises(BadInput, match="no run two"):
        ground.watch(io.StringIO(), lambda number: None)


def test_a_terminal_is_redrawn_in_its_size_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ground, out, widths = Ground(), Terminal(), iter([80, 30, 60, 200])

    def then(number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    # Put back before the test ends: whoever reports on it asks for the size, too.
    with monkeypatch.context() as here:
        here.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((next(widths), 24)))
        with pytest.raises(KeyboardInterrupt):
            ground.watch(out, then)
    text = out.getvalue()
    assert text.startswith("\x1b[?1049h")
    assert text.endswith("\x1b[?25h\x1b[?1049l")
    drawn = [each.split("\r\n") for each in text.split("\x1b[H\x1b[J")[1:]]
    assert [max(map(len, lines)) < width for lines, width in
            zip(drawn, (80, 30, 60), strict=True)] == [True] * 3  # fmt: skip
    assert len(drawn[1]) > len(drawn[0])  # the second run has come


def test_what_a_machine_wrote_moves_no_cursor() -> None:
    ground, out = Ground(), Terminal()
    beat = Heartbeat(1.0, 1, 100, rate=2.0, device="\x1b[2J", loss=3.0)
    notes.write_heartbeat(ground, "one", 1, beat)

    def then(number: int) -> None:
        for attempt in ground.attempts:
            if attempt.head.state != "done":
                attempt.finish("done", "evil\x1b[2J\n\n")

    ground.watch(out, then)
    assert "evil\\u001b[2J\\n" in out.getvalue()


def test_a_narrow_terminal_leaves_out_whole_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    ground = Ground()
    beat = Heartbeat(1.0, 400, 1270, epoch=31.25, rate=12.3, loss=3.0, val=2.9)
    for attempt in ground.attempts:
        notes.write_heartbeat(ground, attempt.run, 1, beat)

    def progress(columns: int, step: int = 400) -> str:
        out = Terminal()
        notes.write_heartbeat(ground, "one", 1, replace(beat, step=step))
        with monkeypatch.context() as here:
            here.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((columns, 24)))
            with pytest.raises(KeyboardInterrupt):
                ground.watch(out, lambda number: _stop())
        drawn = out.getvalue().split("\x1b[H\x1b[J")[1].split("\r\n")
        return next(line for line in drawn if "] step " in line)

    assert progress(60) == "  [###       ] step 400 of 1270 (31%), 0:01:10 left"
    assert progress(80).endswith("(31%), 0:01:10 left, epoch 31.25, 12.3 steps/s")
    assert progress(60, 1270).endswith("step 1270 of 1270 (100%), making samples")
    assert progress(80, 1270).endswith("(100%), making samples, uploading the model")


def _stop() -> None:
    raise KeyboardInterrupt


def test_no_number_is_cut() -> None:
    assert fitted("  loss     2.6612  ▁▂▃▄", 20) == "  loss     2.6612"
    assert fitted("  warning  a sentence without commas", 20) == "  warning  a"
    assert fitted("x" * 30, 20) == "x" * 20
    assert fitted("one, two", 8) == "one, two"


def test_curves_begin_with_what_was_measured_before() -> None:
    ground, out = Ground(), io.StringIO()
    writer = PartWriter(ground, "one/a0001", "metrics")
    for step in range(30):
        row = {"step": step, "loss": 3.0 - step / 10, **({"val": 3.0} if step > 27 else {})}
        writer.flush(json.dumps(row) + "\n")
    asked: list[tuple[float, int]] = []

    def then(number: int) -> None:
        asked.append((ground.time.now, len(ground.requests)))
        if number == 4:
            raise KeyboardInterrupt

    began = ground.time.now, len(ground.requests)
    with pytest.raises(KeyboardInterrupt):
        ground.watch(out, then)
    assert re.search(r"loss +3\.0000  [▁▂▃▄▅▆▇█]{13}\n", out.getvalue())  # of 12 parts, and now
    assert re.search(r"held-out 2\.9000  [▁▂▃▄▅▆▇█]{3}\n", out.getvalue())
    (_, first), (now, last) = began, asked[-1]
    assert (last - first) / (now - began[0]) < MOST


def test_a_run_that_has_ended_has_its_curve_and_nobody_waits() -> None:
    ground, out = Ground(), io.StringIO()
    writer = PartWriter(ground, "one/a0001", "metrics")
    for step in range(5):
        writer.flush(json.dumps({"step": step, "loss": 3.0 - step / 10}) + "\n")
    for attempt in ground.attempts:
        attempt.finish("done")
    sleeps: list[int] = []
    ground.watch(out, sleeps.append)
    assert len(sleeps) == 1, "between the two runs, and not after the last"
    assert re.search(r"loss +3\.0000  [▁▂▃▄▅▆▇█]{6}\n", out.getvalue())


def test_a_curve_that_cannot_be_read_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ground, out = Ground(), io.StringIO()

    def damaged(*args: object) -> None:
        raise Corrupt("HEAD is no document")

    monkeypatch.setattr("launch.supervise.live_view.recent_metrics", damaged)
    for attempt in ground.attempts:
        attempt.finish("done")
    ground.watch(out, lambda number: None)
    assert "two: done" in out.getvalue()


def test_sparklines() -> None:
    assert sparkline([]) == ""
    assert sparkline([2.0]) == sparkline([2.0, 2.0])[:1]
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert len(sparkline(list(range(100)))) == 24
