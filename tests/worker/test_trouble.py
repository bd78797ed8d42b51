"""When a warning is given, and when it is over."""

from dataclasses import replace
from typing import Any

import pytest

from mimir.runs.execution import Execution
from mimir.runs.order import Expected
from mimir.runs.telemetry import KINDS, SENTENCE
from mimir.worker import trouble
from mimir.worker.exchange import Training
from mimir.worker.trouble import Change, Trouble

WELL = {
    "gpu_busy": 0.97, "gpu_memory": 40e9, "gpu_memory_of": 80e9, "gpu_watts": 350.0,
    "gpu_watts_of": 700.0, "gpu_celsius": 64.0, "gpu_mhz": 1900.0, "gpu_mhz_of": 1980.0,
    "throttled_heat": 0.0, "throttled_power": 0.0, "throttled_hardware": 0.0, "memory": 4e9,
    "memory_of": 16e9, "process_memory": 2e9, "disk_free": 40e9, "disk_of": 100e9,
}  # fmt: skip
FAST = Execution("cuda", "bf16", compiled=True, fused=True, graph_steps=8)
EXPECTED = Expected(0.1, measured=True)


class Machine:
    """A machine that trains, sampled every two seconds."""

    def __init__(self, expected: Expected | None = EXPECTED) -> None:
        self.trouble, self.now, self.step, self.expected = Trouble(), 0.0, 0, expected

    def go(
        self, seconds: float, rate: float = 10.0, how: Execution = FAST, waiting: float = 0.5,
        trains: bool = True, **changed: Any,
    ) -> list[Change]:  # fmt: skip
        changes = []
        for _ in range(int(seconds / 2)):
            self.now += 2
            self.step += trains
            told = Training(self.step, rate, how)
            figures = {name: v for name, v in {**WELL, **changed}.items() if v is not None}
            changes += self.trouble.judge(self.now, figures, told, self.expected, waiting)
        return changes


BAD: dict[str, tuple[float, dict[str, Any], str]] = {
    "gpu-idle": (120, {"gpu_busy": 0.1}, "busy for only 10% of the time while it trains"),
    "gpu-hot": (60, {"throttled_heat": 1.0, "gpu_celsius": 91.0}, "slows the GPU down (91 °C)"),
    "gpu-power": (120, {"throttled_power": 1.0, "gpu_mhz": 990.0}, "50% below the highest"),
    "gpu-slowed": (60, {"throttled_hardware": 1.0}, "its host's power supply"),
    "slow": (300, {"rate": 5.0}, "a step takes 200 ms, 2.0 times the 100 ms that were measured"),
    "gpu-memory": (30, {"gpu_memory": 79e9}, "the GPU's memory is 99% full (79.0 of 80.0 GB)"),
    "memory": (30, {"memory": 15.5e9}, "97% full (15.5 of 16.0 GB); likely cause: other programs"),
    "disk": (10, {"disk_free": 1e9}, "nearly full (1.0 of 100 GB free)"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_warning_is_given_once_until_it_is_over(kind: str) -> None:
    seconds, bad, said = BAD[kind]
    machine = Machine()
    assert machine.go(400) == []
    assert machine.go(seconds / 3, **bad) == [], "what lasts a moment is worth no warning"
    assert machine.go(400) == []
    (warned,) = machine.go(600, **bad)
    assert (warned.kind, warned.begins) == (kind, True)
    assert said in warned.text
    assert "likely cause: " in warned.text
    assert machine.go(600, **bad) == []
    (over,) = machine.go(600)
    assert (over.kind, over.begins) == (kind, False)
    assert machine.go(600) == []
    assert [each.kind for each in machine.go(600, **bad)] == [kind]


def test_there_is_a_rule_for_each_kind() -> None:
    assert tuple(rule.kind for rule in trouble.RULES) == KINDS == tuple(BAD)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"gpu_busy": 0.1, "waiting": 3.0}, "the processors are overloaded (3.0 processes wait"),
        ({"gpu_busy": 0.1, "how": replace(FAST, why="no compiler")}, "one by one (no compiler)"),
        ({"gpu_busy": 0.1, "how": replace(FAST, graph_steps=0)}, "one by one (bf16, compiled"),
        ({"gpu_busy": 0.1}, "small for this GPU"),
        ({"memory": 15.5e9, "process_memory": 12e9}, "training itself (12.0 GB)"),
        ({"rate": 5.0, "throttled_heat": 1.0}, "likely cause: the GPU is slowed down"),
        ({"rate": 5.0, "gpu_busy": 0.1}, "likely cause: the GPU waits for its work"),
        ({"rate": 5.0, "how": replace(FAST, why="no compiler")}, "a slower way (no compiler)"),
        ({"rate": 5.0}, "something else uses this machine"),
    ],
)  # fmt: skip
def test_the_likely_cause(seen: dict[str, Any], said: str) -> None:
    assert said in Machine().go(700, **seen)[-1].text


def test_a_forecast_that_was_not_measured_is_a_likely_cause() -> None:
    (warned,) = Machine(Expected(0.1)).go(700, rate=5.0)
    assert "100 ms that were forecast" in warned.text
    assert "computed and not measured" in warned.text


@pytest.mark.parametrize(
    "seen",
    [
        {"gpu_busy": 0.0, "trains": False},  # validation, a model at its end
        {"rate": 1.0, "trains": False},
        {"gpu_busy": None}, {"gpu_memory": None}, {"memory_of": None}, {"disk_free": None},
        {"throttled_power": 1.0},  # at its limit, with nearly the highest clock
        {"rate": 7.0}, {"disk_free": 1e9, "disk_of": 5e9},
    ],
)  # fmt: skip
def test_what_is_no_trouble(seen: dict[str, Any]) -> None:
    machine = Machine()
    machine.go(400)
    if not seen.get("trains", True):
        machine.go(trouble.ACTIVE + 2, trains=False)
    assert machine.go(1000, **seen) == []


def test_without_an_order_nothing_is_slow() -> None:
    assert Machine(None).go(1000, rate=0.01) == []


def test_a_warning_has_room_in_a_heartbeat() -> None:
    (warned,) = Machine().go(600, gpu_busy=0.0, how=replace(FAST, why="x" * 300))
    assert len(warned.text) == SENTENCE
