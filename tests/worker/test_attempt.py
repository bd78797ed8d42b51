"""An attempt tells how it executes its steps from its first line on."""

from pathlib import Path

from mimir.runs import notes
from mimir.runs.execution import Execution
from mimir.runs.parts import read_metrics
from mimir.runs.status import read_head
from mimir.runs.store import open_store
from tests.e2e import jobs


def test_the_path_is_in_log_heartbeat_and_metrics(tmp_path: Path) -> None:
    store = open_store((tmp_path / "store").as_uri())
    jobs.submit(store, "run", jobs.write_data(tmp_path / "data.csv", 60), max_steps=4)
    done, lines = jobs.train(store, "run")
    assert done
    first, *others = lines
    assert first.startswith("run run, attempt 1: claimed; ")
    assert first.endswith(": fp32, not compiled")
    assert any(": fp32, not compiled; " in line for line in others)
    beat = notes.read_heartbeat(store, "run", 1)
    assert beat is not None
    assert beat.execution == Execution("cpu", "fp32")
    rows = [r for r in read_metrics(store, "run", read_head(store, "run")) if "loss" in r]
    assert {(r["compiled"], r["mantissa_bits"]) for r in rows} == {(0, 23)}
