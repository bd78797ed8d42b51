import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimir.errors import StoreError
from mimir.runs import notes
from mimir.runs.parts import read_parts
from mimir.runs.telemetry import Telemetry
from mimir.training.loop import ProgressSnapshot
from mimir.worker import reporter as reporter_module
from mimir.worker.exchange import Card, Exchange, Training
from mimir.worker.reporter import Destination, Reporter, Terminal, line_of
from tests.runs.memory import MemoryStore
from tests.waiting import unless_it_hangs, wait_for


class Away(MemoryStore):
    """Fails every write while `away`."""

    away = False

    def put_if_absent(self, key: str, data: bytes) -> str:
        if self.away:
            raise StoreError("503 Slow Down")
        return super().put_if_absent(key, data)

    def put(self, key: str, data: bytes) -> None:
        if self.away:
            raise StoreError("503 Slow Down")
        super().put(key, data)


class Desk:
    def __init__(self) -> None:
        self.store, self.progress, self.out = Away(), ProgressSnapshot(), io.StringIO()
        self.reporter = Reporter(
            Destination(self.store, "run", 2), self.progress, Terminal(self.out, time.monotonic())
        )

    def rows(self) -> list[dict[str, object]]:
        text = "".join(text for _, text in read_parts(self.store, "run", 2, "metrics"))
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(reporter_module, "INTERVAL", 0.01)
    made = Desk()
    yield made
    made.reporter.close()


def wait_for_heartbeat(
    store: MemoryStore, wanted: Callable[[notes.Heartbeat], bool] = lambda _: True
) -> notes.Heartbeat:
    """The first heartbeat that is as wanted. There may be none yet, or an older one: rows of
    metrics go up before it."""

    def found() -> notes.Heartbeat | None:
        beat = notes.read_heartbeat(store, "run", 2)
        return beat if beat is not None and wanted(beat) else None

    beat = wait_for(found, "a heartbeat")
    assert beat is not None
    return beat


def test_rows_and_heartbeats_go_up_while_it_trains(desk: Desk) -> None:
    desk.progress.step, desk.progress.total, desk.progress.loss = 7, 20, 2.9
    desk.progress.torch, desk.progress.cuda, desk.progress.python = "2.9.1", "12.8", "3.11.4"
    desk.progress.device = "Tesla T4"
    desk.reporter.emit({"step": 7, "loss": 2.9})
    wait_for(lambda: bool(desk.rows()))
    assert desk.rows() == [{"step": 7, "loss": 2.9}]
    beat = wait_for_heartbeat(desk.store, lambda beat: beat.device == "Tesla T4")
    assert (beat.step, beat.total_steps, beat.loss) == (7, 20, 2.9)
    assert beat.versions == "torch 2.9.1, CUDA 12.8, Python 3.11.4"
    desk.progress.step = 8
    assert wait_for_heartbeat(desk.store, lambda beat: beat.step == 8).device == "Tesla T4"


def test_an_outage_delays_rows_and_is_said_once(desk: Desk) -> None:
    desk.store.away = True
    for step in range(5):
        desk.reporter.emit({"step": step})
        assert desk.reporter.flush() is False
    wait_for(lambda: "503" in desk.out.getvalue())
    time.sleep(0.6)
    assert desk.out.getvalue().count("\n") == 1
    desk.store.away = False
    assert desk.reporter.flush() is True
    assert [row["step"] for row in desk.rows()] == list(range(5))


def test_a_bad_report_does_not_end_reports(desk: Desk) -> None:
    desk.progress.loss = float("nan")  # has no JSON
    wait_for(lambda: "a report was not written" in desk.out.getvalue())
    desk.progress.loss = 2.5
    wait_for_heartbeat(desk.store, lambda beat: beat.loss == 2.5)


def test_closing_sends_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter_module, "INTERVAL", 1e6)
    made = Desk()
    made.progress.step, made.progress.total = 20, 20
    made.reporter.emit({"step": 20})
    unless_it_hangs(made.reporter.close)  # and does not wait for its next turn
    assert made.rows() == [{"step": 20}]
    assert notes.read_heartbeat(made.store, "run", 2).step == 20  # type: ignore[union-attr]
    assert not made.reporter._thread.is_alive()


def test_rows_that_are_no_json_are_refused_where_they_are_made(desk: Desk) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        desk.reporter.emit({"loss": float("inf")})


def test_the_supervisors_figures_go_into_heartbeat_and_metrics(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reporter_module, "INTERVAL", 0.01)
    monkeypatch.setattr(reporter_module, "REPEATED", 10**9)
    store, supervisor, progress = MemoryStore(), Exchange(tmp_path), ProgressSnapshot()
    progress.step, progress.rate = 7, 2.0
    told = Telemetry(4.0, gpu_busy=0.5, gpu_memory=40 * 10**9)
    made = Reporter(
        Destination(store, "run", 2), progress, Terminal(io.StringIO()), Card("1"), supervisor
    )
    try:
        supervisor.offer(told)
        wait_for(lambda: supervisor.taken)
        assert supervisor.told() == Training(7, 2.0, None, Card("1"))
        wait_for(lambda: bool(made._columns))
        wait_for_heartbeat(store, lambda beat: beat.telemetry == told)
        made.emit({"step": 7})
        made.emit({"step": 8})
        monkeypatch.setattr(reporter_module, "REPEATED", 3)
        wait_for_heartbeat(store, lambda beat: beat.telemetry is None)
    finally:
        made.close()
    text = "".join(text for _, text in read_parts(store, "run", 2, "metrics"))
    rows = [json.loads(line) for line in text.splitlines()]
    assert rows == [{"step": 7, "gpu_busy": 0.5, "gpu_memory_gb": 40.0}, {"step": 8}]


def test_a_broken_exchange_costs_no_heartbeat(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reporter_module, "INTERVAL", 0.01)
    store, out = MemoryStore(), io.StringIO()
    gone = Exchange(tmp_path / "gone")
    made = Reporter(Destination(store, "run", 2), ProgressSnapshot(), Terminal(out), None, gone)
    try:
        wait_for_heartbeat(store)
        assert "a report was not written" in out.getvalue()
    finally:
        made.close()


def full_progress() -> ProgressSnapshot:
    return ProgressSnapshot(
        step=500, total=2000, epoch=1.5, rate=2.0, tokens_per_s=680.0, loss=2.91, val=2.9
    )


def test_progress_as_a_line() -> None:
    assert line_of(full_progress()) == (
        "step 500/2000  epoch 1.50  loss 2.9100  val 2.9000  2.0 steps/s  680 tokens/s  ETA 0:12:30"
    )
    assert line_of(ProgressSnapshot(total=10)) == "step 0/10  epoch 0.00"
    full = full_progress()
    full.expected_end = 700
    assert line_of(full).endswith("ETA 0:12:30  or 0:01:40 if no validation is better")


def test_lines_come_now_and_then() -> None:
    out = io.StringIO()
    terminal = Terminal(out, time.monotonic() - 100)
    for _ in range(5):
        terminal.show(full_progress())
    assert out.getvalue().count("ETA") == 1
    moving, progress = Terminal(out, -1e9), full_progress()
    for step in (500, 500, 501):  # while a model is exported, no step is made, and nothing is said
        progress.step, moving._lined = step, -1e9
        moving.show(progress)
    assert out.getvalue().count("ETA") == 3
    Terminal(out, 0.0).show(ProgressSnapshot())
    assert out.getvalue().count("\n") == 3


def test_a_bar_with_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMIR_PROGRESS", "bar")
    out = io.StringIO()
    terminal = Terminal(out)
    terminal.show(full_progress())
    terminal.say("a line")
    terminal.close()
    assert "500/2000" in out.getvalue()
    assert "loss 2.910 val 2.900 0.7k tok/s" in out.getvalue()
    assert "a line\n" in out.getvalue()


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("kind", ["", "bar"])
def test_nobody_need_be_reading(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("MIMIR_PROGRESS", kind)
    terminal = Terminal(Gone(), time.monotonic() - 100)
    for _ in range(2):
        terminal.show(full_progress())
        terminal.say("a line")
    terminal._out.close()
