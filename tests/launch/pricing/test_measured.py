"""What past runs measured is found in few requests, however many runs there are."""

import pytest

from launch.pricing import measured
from mimir.config import load_preset
from mimir.runs import newest, notes
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.notes import Heartbeat
from mimir.runs.record import RunRecord, create_run
from tests.runs.memory import CountingStore

SMALL = load_preset("small")


def _trained(store: CountingStore, number: int, preset: str = "small") -> None:
    name, config = f"run{number}", load_preset(preset)
    create_run(store, RunRecord(name, preset, config.as_dict(), 0, 1000.0 + number))
    newest.add(store, newest.NewRun(name, preset, 1000.0 + number))
    raise_attempt(store, name)
    Attempt.claim(store, name, 1)
    beat = Heartbeat(0.0, 10**5, 10**6, rate=float(100 + number), device="Tesla T4")
    notes.write_heartbeat(store, name, 1, beat)


@pytest.mark.parametrize("many", [40, 120])
def test_only_the_newest_runs_are_read(many: int) -> None:
    store = CountingStore()
    for number in range(many):
        _trained(store, number, "small" if number % 2 else "medium")
    found, took = store.count(lambda: measured.from_runs(SMALL, store))
    # The list, records of the preset's newest, and HEAD and heartbeat of 20.
    assert took <= 1 + measured.NEWEST_OF_PRESET + 2 * measured.NEWEST_RUNS
    middle = many - 1 - 2 * (measured.NEWEST_RUNS - 1) / 2  # of the 20 newest of the preset
    assert found["T4"].step_s == pytest.approx(1 / (100 + middle))
    assert found["T4"].source == f"20 runs, newest run{many - 1}"
