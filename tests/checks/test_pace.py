"""A machine that is slower than forecast is told; refused it is where that is its host's fault."""

import re
from pathlib import Path
from typing import Any

import pytest

from mimir.checks import dry_run, pace
from mimir.errors import HOST_UNFIT, MachineUnfit
from mimir.runs import notes
from mimir.runs.order import Expected, Order, Plan
from mimir.runs.status import read_head
from mimir.runs.store import open_store
from mimir.training.engine import Engine
from mimir.training.loop import first_record
from tests import toys
from tests.e2e import jobs

ORDER = Order("runpod", Plan(("runpod",)), 0.0, deadline=1000.0, expected=Expected(0.001, True))
INF = float("inf")


@pytest.mark.parametrize(
    ("step_ms", "measured", "left", "told"),
    [
        (1.0, True, INF, "a step takes 1 ms here, and 1 ms were measured on such a card"),
        (1.3, False, INF, "slower than forecast: a step takes 1.3 ms here, and 1 ms were forecast"),
        (1.4, True, INF, "slower than forecast: "),
        (9.0, False, INF, "slower than forecast: "),
        (9.0, False, 9000.0, "slower than forecast: "),
        (1.4, True, 500.0, "slower than forecast: "),  # by the forecast it did not fit either
        (2.0, False, 500.0, "slower than forecast: "),
        # By the model alone no machine is refused: the next one would do no better.
        (9.0, False, 1050.0, "slower than forecast: .*1,000,000 steps take 2.5 h of 18 min, which"),
        (
            1.1,
            False,
            1050.0,
            "slower than forecast: .*1,000,000 steps take 18 min of 18 min, which",
        ),
    ],
)
def test_what_is_told(step_ms: float, measured: bool, left: float, told: str) -> None:
    line = pace.verdict(step_ms / 1e3, Expected(0.001, measured), 1_000_000, left)
    assert re.match(told, line)


@pytest.mark.parametrize(
    ("step_ms", "measured", "left", "why"),
    [
        (1.6, True, INF, "too slow: a step takes 1.6 ms here, and 1 ms were measured"),
        (1.1, True, 1050.0, "1,000,000 steps take 18 min of 18 min; the run goes on elsewhere"),
        (1.4, True, 1150.0, "too slow for the run's limits: .* 23 min of 19 min"),
    ],
)
def test_what_is_refused(step_ms: float, measured: bool, left: float, why: str) -> None:
    with pytest.raises(MachineUnfit, match=why) as refused:
        pace.verdict(step_ms / 1e3, Expected(0.001, measured), 1_000_000, left)
    assert refused.value.exit_code == HOST_UNFIT


def test_timing_leaves_no_trace_and_tells_seconds_of_a_step() -> None:
    one, other = toys.engine(toys.FIXED), toys.engine(toys.FIXED)
    now = [0.0]

    def clock() -> float:
        now[0] += 0.5
        return now[0]

    one.advance(9)  # the epoch has eleven: its end is crossed
    other.advance(9)
    assert pace.timed(one, first_record(one, "d" * 64, 1), clock) == pytest.approx(0.25)
    assert one.step == 9
    for engine in (one, other):
        engine.advance(2)
        engine.advance(3)
    assert dry_run.differing(toys.tensors(one), toys.tensors(other)) == []


def test_nothing_is_expected_of_a_cpu_or_by_hand() -> None:
    engine = toys.engine()
    record = first_record(engine, "d" * 64, 1)
    assert pace.compared(engine, record, ORDER, 0.0) == ""
    assert pace.compared(engine, record, Order("local", Plan(()), 0.0), 0.0) == ""


def test_an_attempt_on_such_a_machine_ends_before_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next attempt begins where it began: nothing of the run is lost."""
    store = open_store((tmp_path / "store").as_uri())
    jobs.submit(store, "run", jobs.write_data(tmp_path / "data.csv", 60), max_steps=4,
                preflight="on")  # fmt: skip
    seen: list[Any] = []

    def slow(engine: Engine, record: object, order: Order, now: float) -> str:
        seen.append(order.expected)
        return pace.verdict(0.1, Expected(0.001, True), engine.total, INF)

    monkeypatch.setattr(pace, "compared", slow)
    monkeypatch.setattr(notes, "read_order", lambda *_: ORDER)
    with pytest.raises(MachineUnfit, match="too slow"):
        jobs.train(store, "run")
    assert seen == [ORDER.expected]
    assert read_head(store, "run").step == 0
    assert read_head(store, "run").state == "running"
    monkeypatch.setattr(pace, "compared", lambda *_: "as forecast")
    done, lines = jobs.train(store, "run")
    assert done
    assert "as forecast" in lines
