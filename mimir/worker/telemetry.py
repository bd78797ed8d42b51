"""Samples the machine while it trains, in the supervisor's process: no step waits for it.

Each sample goes into the figures that the training process takes for its heartbeat, and to the
rules of `trouble`, whose warnings go into the log and to the run's alerts.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mimir.errors import Corrupt, OtherFormat, sentence
from mimir.runs.order import Expected
from mimir.runs.telemetry import Telemetry, Warned, in_range
from mimir.worker import gpu_figures, host_figures
from mimir.worker.alert_log import AlertLog
from mimir.worker.exchange import Exchange, Training
from mimir.worker.gpu_figures import Gpu, GpuNotTold
from mimir.worker.trouble import Trouble

EVERY = 2.0
"""Seconds between samples: NVML itself tells the use of the last second or less."""
MOST = 300
"""Samples that are kept while nobody takes them, as before the first heartbeat."""
_MADE, _PREFIX = "mimir-figures.new-", "mimir-figures-"
"""What the name of a supervisor's folder begins with before and after the supervisor has locked
it. So one with the second name that nobody has locked belongs to no process any more."""
_ABANDONED = 24 * 3600.0
"""Seconds after which one with the first name is removed, if nobody has locked it."""
_LAST = 5.0
"""Seconds for which the end waits for a sample that is being taken."""
_LARGEST = ("gpu_memory", "memory", "process_memory")
_WHOLE = (*_LARGEST, "gpu_memory_of", "memory_of", "disk_free", "disk_of")
"""Figures that are told as whole bytes."""


class Sampler:
    """Samples one attempt's machine.

    Args:
        store: URL of the run's store.
        note: takes a line for the log.
        alerts: takes what is worth an alert.
        now: unix s by the store's clock.
        nvml: as gpu_figures.nvml.
    """

    def __init__(
        self, store: str, note: Callable[[str], None], alerts: AlertLog,
        now: Callable[[], float], *,
        nvml: Callable[[], Any] = gpu_figures.nvml,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._note, self._alerts, self._now = note, alerts, now
        self._nvml, self._clock = nvml, clock
        self._folders = host_figures.folders_of(store)
        self._folder = ""
        self._held: int | None = None
        self._thread: threading.Thread | None = None
        self._exchange: Exchange | None = None
        self._gpu: Gpu | None = None
        self._looked = False
        self._trouble, self._standing = Trouble(), dict[str, Warned]()
        self._window: deque[tuple[float, dict[str, float]]] = deque()
        self._since = self._sampled = clock()
        self._said: set[str] = set()
        self.expected: Expected | None = None
        """What the order expected of this machine."""

    def open(self) -> str:
        """The folder of the exchange for the training process, "" if there can be none."""
        try:
            self._folder = tempfile.mkdtemp(prefix=_MADE)
            mine = Path(self._folder)
            self._held = _held(mine)
            if self._held is not None:
                mine = mine.rename(mine.with_name(mine.name.replace(_MADE, _PREFIX, 1)))
                self._folder = str(mine)
            _remove_abandoned(mine)
        except OSError as error:
            self._once(f"the machine's figures are not shown: no temporary folder ({error})")
            return ""
        self._exchange = Exchange(Path(self._folder))
        return self._folder

    def close(self) -> None:
        """Remove the folder, once the event that `start` was given is set."""
        if self._thread is not None:
            self._thread.join(_LAST)  # its sample would put a file into what is being removed
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def start(self, ended: threading.Event, pid: int) -> None:
        """`watch` in a thread of its own."""
        self._thread = threading.Thread(
            target=self.watch, args=(ended, pid), name="figures", daemon=True
        )
        self._thread.start()

    def watch(self, ended: threading.Event, pid: int) -> None:
        """Sample until the event is set. pid: of the training process."""
        while self._exchange is not None and not ended.wait(EVERY):
            try:
                self.sample(pid)
            except Exception as error:  # noqa: BLE001 - said once; training goes on without
                if not ended.is_set():  # else its folder may just have been removed
                    self._once(f"some of the machine's figures are not shown: {sentence(error)}")

    def sample(self, pid: int) -> None:
        """Take one sample, judge it, and offer what has come together since the last heartbeat."""
        assert self._exchange is not None
        training = self._told()
        figures = host_figures.read(pid, self._folders)
        figures |= self._of_gpu(training)
        now = self._clock()
        waiting = host_figures.processes_waiting()
        for each in self._trouble.judge(now, figures, training, self.expected, waiting):
            if each.begins:
                self._standing[each.kind] = Warned(each.kind, self._now(), each.text)
            else:
                self._standing.pop(each.kind, None)
            self._note(f"warning: {each.text}" if each.begins else each.text)
            self._alerts.add("warning" if each.begins else "info", each.kind, each.text)
        if self._exchange.taken:  # this sample is the first since then
            self._since = self._sampled
            self._window.clear()
        self._sampled = now
        self._window.append((now, figures))
        if len(self._window) > MOST:
            self._since, _ = self._window.popleft()
        samples, standing = [each for _, each in self._window], tuple(self._standing.values())
        self._exchange.offer(summary(samples, max(0.0, now - self._since), standing))

    def _told(self) -> Training | None:
        assert self._exchange is not None
        try:
            return self._exchange.told()
        except (Corrupt, OtherFormat) as error:
            self._once(f"what the training process told is not used: {error}")
            return None

    def _of_gpu(self, training: Training | None) -> dict[str, float]:
        """Figures of the GPU that trains; {} where none does, or none can be told."""
        if not self._looked and training is not None and training.card is not None:
            self._looked = True
            card = training.card
            try:
                self._gpu = Gpu(card.uuid, card.pci, self._nvml())
                if self._gpu.is_slice:
                    self._inform(
                        "the GPU is a slice of a card (MIG), of which NVIDIA's library tells "
                        "neither use, nor power, nor temperature"
                    )
            except GpuNotTold as error:
                self._inform(f"GPU figures are not shown (use, memory, power, heat): {error}")
        if self._gpu is None:
            return {}
        try:
            return self._gpu.read()
        except GpuNotTold as error:
            self._gpu = None
            self._note(f"warning: {error}")
            self._alerts.add("error", "gpu-lost", str(error))
            return {}

    def _inform(self, text: str) -> None:
        self._note(text)
        self._alerts.add("info", "gpu", text)

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._note(text)


def _held(folder: Path) -> int | None:
    """A descriptor that keeps others from removing one's own folder; None if another has it open,
    or if it is another user's or no folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(handle).st_uid == os.getuid():
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
    except OSError:
        pass  # held, or on a file system without locks
    os.close(handle)
    return None


def _remove_abandoned(mine: Path) -> None:
    """Remove the folders beside this one that supervisors of this user's left when they were
    killed."""
    now = mine.stat().st_mtime
    for each in (*mine.parent.glob(f"{_PREFIX}*"), *mine.parent.glob(f"{_MADE}*")):
        with contextlib.suppress(OSError):
            young = now - each.lstat().st_mtime < _ABANDONED
            if each == mine or (young and each.name.startswith(_MADE)):
                continue
            handle = _held(each)
            if handle is not None:
                shutil.rmtree(each, ignore_errors=True)
                os.close(handle)


def summary(
    samples: list[dict[str, float]], seconds: float, warnings: tuple[Warned, ...] = ()
) -> Telemetry:
    """Samples as one: means, the largest memory, the least free disk, the newest totals.

    A value that no machine can have is left out: readers would refuse all figures for it.
    """
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for sample in samples for name in sample):
        told = [sample[name] for sample in samples if name in sample]
        values = [value for value in told if in_range(name, value)]
        if not values:
            continue
        if name in _LARGEST:
            found[name] = max(values)
        elif name == "disk_free":
            found[name] = min(values)
        elif name.endswith("_of"):
            found[name] = values[-1]
        else:
            found[name] = sum(values) / len(values)
        if f"{name}_most" in Telemetry.__dataclass_fields__:
            found[f"{name}_most"] = max(values)
        if name in _WHOLE:
            found[name] = int(found[name])
    return Telemetry(seconds=seconds, **found, warnings=warnings)
