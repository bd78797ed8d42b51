"""An attempt tells what its start took."""

import time
from pathlib import Path

import pytest

from mimir.worker.start_times import StartTimes, process_age


def test_each_part_is_told_in_its_order() -> None:
    now = [100.0]
    start = StartTimes(3.0, lambda: now[0])
    for part, seconds in (("the claim", 0.01), ("the data", 4.04), ("compilation", 90.0)):
        now[0] += seconds
        start.ended(part)
    assert start.words == (
        "ready to train after 1.6 min: 3.0 s Python and torch, 4.0 s the data, 1.5 min compilation"
    )


def test_a_process_knows_its_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    fields = ["S", *["0"] * 18, "250", "0"]
    stat.write_text(f"7 (a) name) {' '.join(fields)}\n")
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    monkeypatch.setattr(time, "clock_gettime", lambda clock: 12.5)
    assert process_age(stat) == 10.0
    assert process_age(tmp_path / "none") == 0.0
    stat.write_text("nonsense")
    assert process_age(stat) == 0.0
