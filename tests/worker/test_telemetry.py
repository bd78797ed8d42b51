"""The supervisor's samples, from the machine to the heartbeat."""

import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from mimir.runs import alerts, layout, notes
from mimir.runs.execution import Execution
from mimir.worker import exchange, host_figures
from mimir.worker import telemetry as sampling
from mimir.worker.alert_log import AlertLog
from mimir.worker.exchange import Card, Exchange, Training
from mimir.worker.gpu_figures import GpuNotTold
from mimir.worker.telemetry import Sampler, summary
from tests.runs.memory import MemoryStore
from tests.waiting import LIMIT
from tests.worker.fake_nvml import FakeNvml

HOST = {"memory": 3e9, "memory_of": 16e9, "process_memory": 1e9, "disk_free": 5e10, "disk_of": 1e11}


class Desk:
    """A sampler whose machine is a stand-in, and the training process's side of its exchange."""

    def __init__(self, library: Any = None) -> None:
        self.store, self.lines, self.now = MemoryStore(), list[str](), 0.0
        self.alerts = AlertLog(self.store, "run", 1, lambda: 1000 + self.now)
        self.library, self.asked = library or FakeNvml(), 0
        self.sampler = Sampler(
            "memory://", self.lines.append, self.alerts, lambda: 1000 + self.now, nvml=self.nvml,
            clock=lambda: self.now,
        )  # fmt: skip
        self.child = Exchange(Path(self.sampler.open()))
        self.step = 0

    def nvml(self) -> Any:
        self.asked += 1
        if isinstance(self.library, str):
            raise GpuNotTold(self.library)
        return self.library

    def go(self, samples: int = 1, card: Card | None = Card("1")) -> None:  # noqa: B008
        for _ in range(samples):
            self.now += 2
            self.step += 1
            self.child.tell(Training(self.step, 10.0, Execution("cuda", "bf16"), card))
            self.sampler.sample(1)

    def events(self) -> list[tuple[float, str, str]]:
        assert self.alerts.flush()
        return [(e.time, e.level, e.kind) for e in alerts.read_events(self.store, "run", 1)]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    monkeypatch.setattr(host_figures, "read", lambda pid, folders: dict(HOST))
    monkeypatch.setattr(host_figures, "processes_waiting", lambda: 0.5)
    made = Desk(getattr(request, "param", None))
    yield made
    made.sampler.close()


def test_figures_are_those_since_they_were_taken_last(desk: Desk) -> None:
    desk.go(3)
    desk.library.busy, desk.library.used = 91, 60 * 10**9
    desk.go(1)
    first = desk.child.take()
    assert first is not None
    assert (first.seconds, first.gpu_memory, first.gpu_memory_of) == (8.0, 60 * 10**9, 80 * 10**9)
    assert first.gpu_busy == pytest.approx((3 * 0.97 + 0.91) / 4)
    assert (first.gpu_busy_most, first.memory, first.process_memory) == (0.97, 3 * 10**9, 10**9)
    assert desk.child.take() is None, "each sample is told once"
    desk.go(2)
    second = desk.child.take()
    assert second is not None
    assert (second.seconds, second.gpu_busy, second.gpu_busy_most) == (4.0, 0.91, 0.91)


def test_nobody_takes_them_for_long(desk: Desk) -> None:
    desk.go(sampling.MOST + 50)
    found = desk.child.take()
    assert found is not None
    assert found.seconds == 2.0 * sampling.MOST


def test_a_warning_goes_to_heartbeat_log_and_store(desk: Desk) -> None:
    desk.go(100)
    desk.library.busy = 3
    desk.go(100)
    found = desk.child.take()
    assert found is not None
    (warned,) = found.warnings
    assert warned.kind == "gpu-idle"
    assert 1200 < warned.since < 1400
    assert [line for line in desk.lines if line == f"warning: {warned.text}"] == [desk.lines[0]]
    desk.library.busy = 99
    desk.go(100)
    found = desk.child.take()
    assert found is not None
    assert found.warnings == ()
    assert desk.lines[1:] == ["the GPU is busy again"]
    assert [event[1:] for event in desk.events()] == [("warning", "gpu-idle"), ("info", "gpu-idle")]


@pytest.mark.parametrize(
    ("desk", "said"),
    [
        (
            "nvidia-ml-py is not installed here",
            "not shown (use, memory, power, heat): nvidia-ml-py is not installed here",
        ),
        (
            FakeNvml("GPU-2"),
            "not shown (use, memory, power, heat): NVIDIA's management library does not",
        ),
        (FakeNvml("MIG-1", mig="slice"), "the GPU is a slice of a card (MIG)"),
    ],
    indirect=["desk"],
)
def test_what_cannot_be_told_is_said_once(desk: Desk, said: str) -> None:
    desk.go(50)
    assert len(desk.lines) == 1
    assert said in desk.lines[0]
    assert desk.asked == 1
    assert [event[1:] for event in desk.events()] == [("info", "gpu")]
    found = desk.child.take()
    assert found is not None
    assert found.gpu_busy is None
    assert found.memory == 3 * 10**9


def test_without_a_gpu_nobody_asks_for_one(desk: Desk) -> None:
    desk.go(10, card=None)
    assert (desk.asked, desk.lines, desk.events()) == (0, [], [])
    found = desk.child.take()
    assert found is not None
    assert dict(found.words()) == {
        "host": "3.0 of 16.0 GB of memory, training 1.0 GB, 50.0 of 100 GB of disk free"
    }


def test_a_lost_gpu_is_an_error_told_once(desk: Desk) -> None:
    desk.go(2)
    desk.library.lost = True
    desk.go(5)
    assert desk.lines == ["warning: its driver has lost the GPU (GPU is lost)"]
    assert [event[1:] for event in desk.events()] == [("error", "gpu-lost")]


@pytest.mark.parametrize("text", ['{"format":1}', "{", '{"format":1,"step":-1}', "[" * 9999])
def test_what_the_training_process_writes_is_checked(desk: Desk, text: str) -> None:
    (Path(desk.sampler._folder) / "training.json").write_text(text)
    for _ in range(3):
        desk.sampler.sample(1)
    assert len(desk.lines) == 1
    assert "is not used" in desk.lines[0]


def test_a_full_disk_costs_the_figures_and_one_line(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds, ended = [0], threading.Event()

    def full(self: Exchange, telemetry: object) -> None:
        rounds[0] += 1
        if rounds[0] == 5:
            ended.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Exchange, "offer", full)
    monkeypatch.setattr(sampling, "EVERY", 0.001)
    thread = threading.Thread(target=desk.sampler.watch, args=(ended, 1))
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert len(desk.lines) == 1
    assert "No space left on device" in desk.lines[0]


def test_the_folder_is_removed_at_the_end(desk: Desk) -> None:
    desk.go(2)
    folder = Path(desk.sampler._folder)
    assert folder.stat().st_mode & 0o77 == 0, "nobody else's"
    desk.sampler.close()
    assert not folder.exists()


def test_the_last_sample_is_over_before_the_folder_is_removed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, begun = threading.Event(), threading.Event()
    offer = Exchange.offer

    def late(self: Exchange, telemetry: Any) -> None:
        begun.set()
        assert ended.wait(LIMIT)
        offer(self, telemetry)
        done.append(Path(desk.sampler._folder).exists())

    done: list[bool] = []
    monkeypatch.setattr(Exchange, "offer", late)
    monkeypatch.setattr(sampling, "EVERY", 0.001)
    monkeypatch.setattr(sampling, "_LAST", LIMIT)
    desk.sampler.start(ended, 1)
    assert begun.wait(LIMIT)
    ended.set()
    desk.sampler.close()
    assert done == [True]
    assert not Path(desk.sampler._folder).exists()


def test_folders_of_supervisors_that_were_killed_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, unlocked, made, lives, other, elsewhere = (
        tmp_path / name
        for name in ("mimir-figures-killed", "mimir-figures.new-killed", "mimir-figures.new-now",
                     "mimir-figures-lives", "other", "mimir-figures-link")
    )  # fmt: skip
    for each in (killed, unlocked, made, lives, other):
        each.mkdir()
        (each / "telemetry.json").touch()
    elsewhere.symlink_to(other)
    long_ago = made.stat().st_mtime - sampling._ABANDONED - 1
    for each in (unlocked, lives, other, elsewhere):
        os.utime(each, (long_ago, long_ago), follow_symlinks=False)
    holds = sampling._held(lives)
    assert holds is not None
    with monkeypatch.context() as changed:
        changed.setattr(os, "getuid", lambda: os.geteuid() + 1)
        left = Desk()
        assert killed.exists(), "another user's"
    left.sampler.close()
    desk = Desk()
    assert Path(desk.sampler._folder).name.startswith("mimir-figures-")
    beside = Desk()
    assert Path(desk.sampler._folder).exists(), "its supervisor lives"
    beside.sampler.close()
    assert not killed.exists()
    assert not unlocked.exists()
    for each in (made, lives, other):
        assert (each / "telemetry.json").exists()
    os.close(holds)
    desk.sampler.close()
    assert not Path(desk.sampler._folder).exists()


def test_the_training_process_finds_its_exchange(tmp_path: Path) -> None:
    assert exchange.of_this_process({}) is None
    assert exchange.of_this_process({exchange.VARIABLE: ""}) is None
    found = exchange.of_this_process({exchange.VARIABLE: str(tmp_path)})
    assert found is not None
    found.offer(summary([{"gpu_busy": 0.5}], 2.0))
    taken = found.take()
    assert taken is not None
    assert taken.gpu_busy == 0.5


@pytest.mark.parametrize("odd", [
    {"gpu_watts": 3e5}, {"gpu_busy": 1.01}, {"gpu_celsius": float("nan")},
    {"memory": float("inf")}, {"disk_free": -1.0},
])  # fmt: skip
def test_an_odd_value_costs_itself_alone(odd: dict[str, float], tmp_path: Path) -> None:
    large = {"memory_of": 2.16e12, "process_memory": 1.5e12}
    sound = {"gpu_watts": 300.0, "gpu_busy": 0.5, "gpu_celsius": 60.0, "memory": 2e12, **large}
    (name,) = odd
    folder = Exchange(tmp_path)
    folder.offer(summary([sound, {**large, **odd}], 2.0))
    assert folder.take() == summary([sound, large], 2.0)
    folder.offer(summary([{**sound, **odd}], 2.0))
    found = folder.take()
    assert found is not None
    assert getattr(found, name) is None
    assert found.memory_of == 2_160_000_000_000


class Away(MemoryStore):
    away = False

    def put(self, key: str, data: bytes) -> None:
        from mimir.errors import StoreError

        if self.away:
            raise StoreError("503 Slow Down")
        super().put(key, data)


def test_events_wait_for_the_store_and_outlive_the_worker() -> None:
    store = Away()
    log = AlertLog(store, "run", 1, lambda: 5.0)
    assert log.flush()
    assert store.read(layout.alerts_key("run", 1)) is None, "nothing happened, nothing is written"
    store.away = True
    log.add("warning", "disk", "first\nof all " + "x" * 500)
    assert not log.flush()
    store.away = False
    assert log.flush()
    again = AlertLog(store, "run", 1, lambda: 6.0)  # the worker was killed, and came up again
    again.add("info", "disk", "second")
    assert again.flush()
    found = alerts.read_events(store, "run", 1)
    assert [(each.time, each.text[:12]) for each in found] == [
        (5.0, "first of all"),
        (6.0, "second"),
    ]
    for number in range(2 * alerts.MOST):
        again.add("info", "disk", f"{number}")
    assert again.flush()
    assert len(alerts.read_events(store, "run", 1)) == alerts.MOST
    assert notes.unless_damaged(alerts.read_events, store, "run", 1)[-1].text == "399"  # type: ignore[index]
