"""A machine's figures: what of them counts, and how they are shown."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from mimir.runs import layout, notes, telemetry
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.notes import Heartbeat
from mimir.runs.parts import metrics_row
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import derive
from mimir.runs.telemetry import Telemetry, Warned
from tests.runs.memory import MemoryStore

FULL = Telemetry(
    5.0, gpu_busy=0.9, gpu_busy_most=1.0, gpu_memory=41 * 10**9, gpu_memory_of=80 * 10**9,
    gpu_watts=350.0, gpu_watts_most=360.0, gpu_watts_of=700.0, gpu_celsius=64.0,
    gpu_celsius_most=66.0, gpu_mhz=1755.0, gpu_mhz_of=1980.0, throttled_heat=0.25,
    throttled_power=0.0, throttled_hardware=0.0, memory=3 * 10**9, memory_of=16 * 10**9,
    process_memory=10**9, disk_free=5 * 10**10, disk_of=10**11,
    warnings=(Warned("gpu-hot", 1000.0, "heat slows the GPU down"),),
)  # fmt: skip


def written(store: MemoryStore, **changed: Any) -> Telemetry | None:
    """What status tells of a running run's machine, whose heartbeat's figures are changed so."""
    if not store.objects:
        create_run(store, RunRecord("run", "smoke", {}, 0, 1000.0))
        raise_attempt(store, "run", clock=store.now)
        Attempt.claim(store, "run", 1)
    notes.write_heartbeat(store, "run", 1, Heartbeat(0.0, 5, 10, telemetry=FULL))
    key = layout.heartbeat_key("run", 1)
    body = json.loads(store.get(key))
    body["telemetry"] |= changed
    store.put(key, json.dumps(body).encode())
    return derive(store, "run", store.now()).telemetry


def test_status_tells_what_the_worker_wrote() -> None:
    store = MemoryStore()
    assert written(store) == FULL
    assert json.loads(json.dumps(derive(store, "run", store.now()).as_json()))["telemetry"] == {
        **asdict(FULL), "warnings": [asdict(FULL.warnings[0])],
    }  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"gpu_busy": 1.5}, {"gpu_memory": -1}, {"gpu_celsius": "hot"}, {"gpu_watts": 1e300},
        {"seconds": None}, {"other": 1}, {"warnings": [{"kind": "rm -rf", "since": 0, "text": ""}]},
        {"warnings": [asdict(FULL.warnings[0])] * 9},
        {"warnings": [{"kind": "disk", "since": 0, "text": "x" * 301}]},
    ],
)  # fmt: skip
def test_what_no_machine_can_do_is_damage(changed: dict[str, Any]) -> None:
    store = MemoryStore()
    assert written(store, **changed) is None
    assert "heartbeat.json" in derive(store, "run", store.now()).damage


def test_words() -> None:
    assert dict(FULL.words()) == {
        "gpu": "90% busy (at most 100%), 41.0 of 80.0 GB, 350 of 700 W, 64 °C, 1755 of 1980 MHz, "
        "slowed down by heat 25% of the time",
        "host": "3.0 of 16.0 GB of memory, training 1.0 GB, 50.0 of 100 GB of disk free",
    }
    assert list(Telemetry(5.0).words()) == []
    some = replace(FULL, gpu_memory_of=None, gpu_busy=None, gpu_mhz=None, gpu_watts=None)
    assert dict(some.words())["gpu"].startswith("41.0 GB, 64 °C, slowed")


def test_columns() -> None:
    row = FULL.as_row()
    assert set(row) == telemetry.COLUMNS
    assert (row["gpu_memory_gb"], row["gpu_busy"], row["disk_free_gb"]) == (41.0, 0.9, 50.0)
    assert metrics_row(json.dumps({"step": 1, **row})) == {"step": 1, **row}
    assert Telemetry(5.0).as_row() == {}


@pytest.mark.parametrize(
    ("column", "value"),
    [("gpu_busy", 1.01), ("gpu_busy", -0.1), ("gpu_memory_gb", 1e10), ("gpu_watts_most", 1e6),
     ("gpu_celsius", 5000), ("throttled_heat", 2), ("disk_free_gb", -1)],
)  # fmt: skip
def test_a_column_that_cannot_be_is_left_out(column: str, value: float) -> None:
    assert metrics_row(json.dumps({"step": 1, "loss": 2.5, column: value})) == {
        "step": 1, "loss": 2.5,
    }  # fmt: skip
