"""Whether a machine is what was ordered, by what it shows of itself."""

import shutil
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest

from mimir.errors import StoreError
from mimir.runs import layout
from mimir.runs.promised import GpuNames, Promised
from mimir.worker import delivered
from tests.runs.memory import MemoryStore

Usage = namedtuple("Usage", "total used free")
RTX_4090, RTX_3090 = GpuNames(("RTX 4090",), "4090"), GpuNames(("RTX 3090",), "3090")
A100 = GpuNames(("A100 80GB", "A100X"), "a100")
L40, L40S = GpuNames(("L40",), "l40"), GpuNames(("L40S",), "l40s")
CARD = "NVIDIA GeForce RTX 4090, 24564, 580.65.06"


def smi(folder: Path, monkeypatch: pytest.MonkeyPatch, says: str, code: int = 0) -> None:
    """An nvidia-smi that says this; "" for none."""
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin" if says else str(folder))
    if says:
        tool = folder / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
        tool.chmod(0o755)


def short(promised: Promised, store: MemoryStore | None = None) -> tuple[list[str], list[str]]:
    """(shortfalls, what was said)."""
    said: list[str] = []
    found = delivered.shortfalls(store or MemoryStore(), "run", 1, promised, said.append)
    return found, said


@pytest.mark.parametrize(
    ("promised", "shown", "wrong"),
    [
        (Promised(RTX_4090, 24.0, "580.65.06"), CARD, ""),
        (Promised(RTX_4090, 25.8, "580.126.1"), CARD, ""),
        (Promised(A100, 40.0), "NVIDIA A100-SXM4-40GB, 40960, 535.1", ""),
        (Promised(A100, 80.0), "NVIDIA A100X, 81920, 535.1", ""),
        (Promised(L40S, 48.0), "NVIDIA L40S, 46068, [N/A]", ""),
        (Promised(None, 24.0), "Some Card Of 2027, [N/A], 600.1", ""),
        (
            Promised(RTX_3090, 24.0),
            CARD,
            "its GPU is NVIDIA GeForce RTX 4090, and not the RTX 3090",
        ),
        (Promised(L40, 48.0), "NVIDIA L40S, 46068, 580.1", "and not the L40 that was ordered"),
        (Promised(RTX_4090, 48.0), CARD, "its GPU has 25.8 GB of 48"),
        (
            Promised(RTX_4090, 24.0, "590.10"),
            CARD,
            "its driver is 580.65.06, and was said to be 590.",
        ),
    ],
)
def test_the_gpu(
    promised: Promised, shown: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi(tmp_path, monkeypatch, shown)
    found, said = short(promised)
    assert ([wrong in each for each in found], said) == ([True] if wrong else [], [])


@pytest.mark.parametrize(
    ("says", "code", "told"),
    [("", 0, "there is no nvidia-smi here"), ("NVML: mismatch", 9, "no GPU (NVML: mismatch)")],
)
def test_a_gpu_that_nobody_shows_is_left_to_training(
    says: str, code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi(tmp_path, monkeypatch, says, code)
    found, (said,) = short(Promised(RTX_4090, 24.0))
    assert found == []
    assert told in said


@pytest.mark.parametrize(
    ("total", "free", "wrong"),
    [(30, 25, []), (16, 8, []), (14, 8, ["its disk has 14 GB of 30"]),
     (200, 1, ["its disk has only 1.0 GB left"])],
)  # fmt: skip
def test_the_disk(total: int, free: int, wrong: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def usage(path: str) -> Usage:
        looked.append(path)
        return Usage(total * 1e9, 0, free * 1e9)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert short(Promised(disk_gb=30)) == (wrong, [])
    assert looked == [tempfile.gettempdir()]
    assert short(Promised()) == ([], [])


class Line(MemoryStore):
    """A store at the end of a line of so many Mbit/s, one rate for each object."""

    def __init__(self, *rates: float) -> None:
        super().__init__()
        self.rates, self.now_, self.sent = list(rates), 0.0, 0

    def put(self, key: str, data: bytes) -> None:
        rate = self.rates.pop(0)
        if not rate:
            raise StoreError("503 Slow Down")
        self.sent += len(data)
        self.now_ += len(data) * 8e-6 / rate
        super().put(key, data)


@pytest.mark.parametrize(
    ("least", "rates", "wrong"),
    [
        (10.0, (40.0,), ""),
        (10.0, (6.0,), ""),  # the start of a connection is slow
        (10.0, (1.0, 40.0), ""),
        (10.0, (1.0, 2.0), "it sends 2.0 Mbit/s to the store, and 10.0 are needed and offered"),
        (0.01, (0.5,), ""),
        (46.0, (9.0, 9.0), "it sends 9.0 Mbit/s"),
        (10.0, (0.0,), ""),
        (0.0, (), ""),
    ],
)
def test_the_upload(least: float, rates: tuple[float, ...], wrong: str) -> None:
    store, said = Line(*rates), list[str]()
    found = delivered.shortfalls(
        store, "run", 1, Promised(upload_mbit=least), said.append, clock=lambda: store.now_
    )
    assert [wrong in each for each in found] == ([True] if wrong else [])
    assert bool(said) == (0.0 in rates)
    assert list(store.list("run/")) == [], "nothing of it is left"
    assert store.sent <= 2 * delivered.LARGEST
    assert layout.upload_key("run", 1).startswith(f"{layout.attempt_prefix('run', 1)}/")
