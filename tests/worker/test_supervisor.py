"""The guardian's own work: what it must do whatever store and clock do."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from mimir.errors import HOST_UNFIT
from mimir.runs import layout, notes, orders
from mimir.runs.begin import raise_attempt
from mimir.runs.order import Order, Plan
from mimir.runs.promised import Promised
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import Store, Versioned
from mimir.worker import notices, webhook
from mimir.worker import supervisor as guarding
from mimir.worker.supervisor import Worker
from tests.runs.memory import MemoryStore
from tests.waiting import LIMIT, wait_for

Memory = TypeVar("Memory", bound=MemoryStore)
RUN = "run"
SLEEPER = "import time; print('training', flush=True); time.sleep(3600)"
TALKER = "import time\nfor n in range(40): print(n, flush=True); time.sleep(0.1)"
OBEDIENT = """
import signal, sys, time
def end(number, frame):
    time.sleep(1)
    print("committed", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, end)
print("training", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(guarding, "STOP_POLL", 0.05)
    monkeypatch.setattr(guarding, "LOG_EVERY", 0.1)
    changed = (signal.SIGTERM, signal.SIGINT, notices.CHECKPOINT)
    before = {number: signal.getsignal(number) for number in changed}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Stuck(MemoryStore):
    """Does not answer whether a stop was requested, until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.freed = threading.Event()

    def read(self, key: str, **limit: int) -> Versioned | None:
        if key.endswith("/stop.json"):
            self.freed.wait()
        return super().read(key, **limit)


def begun(store: Memory) -> Memory:
    create_run(store, RunRecord(RUN, "toy", {}, 0, 0.0))
    raise_attempt(store, RUN, sleep=lambda s: None)
    return store


class Guarded(Worker):
    """A worker whose training process is another program."""

    program = SLEEPER

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-c", self.program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )


def guard(
    store: Store, program: str, deadline: float = 0.0,
    out: Callable[[bytes], None] = lambda chunk: None,
) -> int:  # fmt: skip
    made = Guarded(store, RUN, 1, deadline, out=out)
    made.program = program
    return made.work()


def test_a_deadline_does_not_wait_for_a_store_that_does_not_answer() -> None:
    store = Stuck()
    # Whoever waits for the store waits until it is freed, which a hanging test needs in the end.
    free = threading.Timer(LIMIT, store.freed.set)
    free.start()
    try:
        assert guard(begun(store), SLEEPER, deadline=time.time() + 1) == 75
        assert not store.freed.is_set(), "the deadline waited for the store"
    finally:
        free.cancel()
        store.freed.set()
    outcome = notes.read_outcome(store, RUN, 1)
    assert outcome is not None
    assert (outcome.exit_code, outcome.cause) == (75, "deadline")


@pytest.mark.parametrize("ahead", [-7200.0, 7200.0])
def test_a_deadline_is_the_stores_time_and_not_the_machines(
    monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    store, real = begun(MemoryStore()), time.time
    store.clock = real
    monkeypatch.setattr(time, "time", lambda: real() + ahead)
    before = real()
    assert guard(store, "import time; time.sleep(0.5)", deadline=before + 3600) == 0
    outcome = notes.read_outcome(store, RUN, 1)
    assert outcome is not None
    assert before <= outcome.time <= real() + 1
    other = begun(MemoryStore())
    other.clock = real
    assert guard(other, OBEDIENT, deadline=real() + 1) == 75


def test_a_machine_that_is_not_what_was_ordered_moves_no_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryStore()
    create_run(store, RunRecord(RUN, "toy", {}, 0, 0.0))
    order = Order("cloud", Plan(("cloud",)), 0.0, promised=Promised(disk_gb=500_000.0))
    raise_attempt(store, RUN, order, sleep=lambda s: None)
    monkeypatch.setattr(Guarded, "_start", lambda self: pytest.fail("training was started"))
    assert guard(store, SLEEPER) == 75
    outcome = notes.read_outcome(store, RUN, 1)
    assert outcome is not None
    assert (outcome.exit_code, outcome.cause) == (75, "host")
    assert outcome.reason.startswith("the machine is less than what was ordered: its disk has ")
    log = list(store.list(f"{layout.attempt_prefix(RUN, 1)}/log/"))
    assert b"less than what was ordered" in store.get(log[0])


def test_a_host_that_is_too_slow_is_no_failure_of_the_run() -> None:
    """The training process finds that out (mimir/checks/pace.py)."""
    slow = f"import sys; print('this machine is too slow'); sys.exit({HOST_UNFIT})"
    store = begun(MemoryStore())
    assert guard(store, slow) == 75
    outcome = notes.read_outcome(store, RUN, 1)
    assert outcome is not None
    assert (outcome.exit_code, outcome.cause) == (75, "host")
    assert outcome.reason == "this machine is too slow"


def test_the_log_is_sent_while_the_clock_goes_back() -> None:
    store, hour = begun(MemoryStore()), iter(range(10**6, 0, -1))
    store.clock = lambda: 3600.0 * next(hour)
    assert guard(store, TALKER) == 0
    assert len(list(store.list(f"{layout.attempt_prefix(RUN, 1)}/log/"))) > 2


def test_a_clock_that_leaps_ahead_shortens_no_grace() -> None:
    store, day, trains = begun(MemoryStore()), iter(range(10**6)), threading.Event()

    def clock() -> float:
        return 86400.0 * next(day) if trains.is_set() else 0.0

    store.clock = clock
    assert guard(store, OBEDIENT, 1.0, lambda chunk: trains.set()) == 75
    outcome = notes.read_outcome(store, RUN, 1)
    assert outcome is not None
    assert outcome.reason == "the deadline has come: committed"


def test_a_request_to_stop_is_obeyed_by_one_signal() -> None:
    store = begun(MemoryStore())

    def stop(chunk: bytes) -> None:
        if b"training" in chunk:
            orders.request_stop(store, RUN, notes.StopRequest(1.0))

    assert guard(store, OBEDIENT, out=stop) == 75
    outcome = notes.read_outcome(store, RUN, 1)
    assert outcome is not None
    assert (outcome.reason, outcome.cause) == ("asked to stop: committed", "stop")


def test_ctrl_c_in_a_terminal_is_answered_at_once_as_what_it_is() -> None:
    store, said = begun(MemoryStore()), bytearray()

    def hear(chunk: bytes) -> None:
        said.extend(chunk)
        if b"training" in chunk:
            os.kill(os.getpid(), signal.SIGINT)

    program = OBEDIENT.replace("SIGTERM", "SIGINT").replace("time.sleep(1)", "pass")
    listens = "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})\nprint("
    program = program.replace('print("training"', f'{listens}"training"')
    made = Guarded(store, RUN, 1, out=hear, interactive=True)
    made.program = program
    assert made.work() == 75
    answer = b"Ctrl-C: commits a checkpoint, then ends; a second one after 2 s ends without it\n"
    wait_for(lambda: answer in bytes(said))
    outcome = notes.read_outcome(store, RUN, 1)
    assert outcome is not None
    assert outcome.reason.startswith("Ctrl-C: ")
    assert outcome.cause == "signal"


@pytest.mark.parametrize(
    ("program", "event"),
    [
        ("print('finished')", "done"),
        ("import sys; print('no GPU'); sys.exit(78)", "failed"),
        ("import sys; print('cut off'); sys.exit(75)", "interrupted"),
        ("import sys; print('a newer attempt owns the run'); sys.exit(76)", None),
    ],
)
def test_the_machine_tells_a_webhook_only_where_it_was_given_one(
    program: str, event: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str]] = []
    said: list[bytes] = []
    url = "https://hooks.example/sec-ret"

    def send(where: str, body: dict[str, object]) -> str:
        assert where == url
        told.append((str(body["event"]), str(body["run"])))
        return "it answers 500"

    monkeypatch.setattr(webhook, "send", send)
    guard(begun(MemoryStore()), program)
    assert told == []
    monkeypatch.setenv(webhook.FROM_MACHINE, url)
    store = begun(MemoryStore())
    guard(store, program, out=said.append)
    assert told == ([(event, RUN)] if event else [])
    assert notes.read_outcome(store, RUN, 1) is not None or event is None, "that comes first"
    assert (b"hooks.example was not told: it answers 500" in b"".join(said)) is bool(event)
    assert "sec-ret" not in str([said, *store.objects.items()])


LISTENS_LATE = """
import pathlib, sys, time
from mimir.worker import notices
go_on = pathlib.Path(sys.argv[1])
print("deaf", flush=True)
while not go_on.exists():
    time.sleep(0.02)
notices.listen(lambda: print("saved", flush=True))
"""


class LateListener(Worker):
    """Its training process needs a while until it listens to signals, and must not die of one."""

    go_on: Path

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-c", LISTENS_LATE, str(self.go_on)], stdout=subprocess.PIPE
        )


def test_a_machine_at_risk_is_asked_for_a_checkpoint_also_before_it_listens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    printed: list[bytes] = []
    store = begun(MemoryStore())
    worker = LateListener(store, RUN, 1, out=printed.append)
    worker.go_on = tmp_path / "go on"

    class Told:
        def __init__(
            self, take: Callable[[str], None], risk: Callable[[str], None], warn: object
        ) -> None:
            self.risk = risk

        def watch(self, ended: threading.Event) -> None:
            wait_for(lambda: b"deaf" in b"".join(printed))
            self.risk("the service may take it")
            worker.go_on.touch()

    monkeypatch.setattr(notices, "Notices", Told)
    assert worker.work() == 0
    assert b"saved" in b"".join(printed)
    line = b"the service may take it: a checkpoint is asked for, and training goes on"
    assert b"".join(printed).count(line) == 1
    log = b"".join(found.data for key, found in store.objects.items() if "/log" in key)
    assert line in log
    assert notices.CHECKPOINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_figures_leave_no_folder_also_where_training_could_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*words: object, **how: object) -> None:
        made.extend(tmp_path.iterdir())
        raise OSError(12, "Cannot allocate memory")

    made: list[Path] = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", full)
    with pytest.raises(OSError, match="allocate"):
        Worker(begun(MemoryStore()), RUN, 1, out=lambda chunk: None).work()
    assert len(made) == 1
    assert list(tmp_path.iterdir()) == []
