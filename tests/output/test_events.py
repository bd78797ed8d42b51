"""TensorBoard's own reader, beside a file that is written again and again."""

from pathlib import Path
from typing import Any

import pytest

from mimir.output import events


def rows_to(step: int, loss: float = 2.0) -> list[dict[str, Any]]:
    return [{"step": n, "time": 1e9 + n, "loss": loss + n, "samples": ["ACD"]}
            for n in range(1, step + 1)]  # fmt: skip


def test_a_file_that_trains_only_grows() -> None:
    for number in range(5):
        whole = events.event_file(rows_to(5), 1e9)
        assert whole.startswith(events.event_file(rows_to(number), 1e9))


def test_tensorboard_reads_on_and_forgets_what_was_lost(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    reader = accumulator.EventAccumulator(str(tmp_path / "run"))

    def seen(rows: list[dict[str, Any]], attempt: int) -> list[tuple[int, float]]:
        path = events.update(tmp_path / "run", rows, 1e9, "run", attempt)
        assert path.name == f"events.out.tfevents.1000000000.run.a000{attempt}"
        reader.Reload()
        anew = accumulator.EventAccumulator(str(tmp_path / "run"))
        anew.Reload()
        assert anew.Scalars("loss") == reader.Scalars("loss")
        return [(each.step, each.value) for each in reader.Scalars("loss")]

    assert seen(rows_to(2), 1) == [(1, 3.0), (2, 4.0)]
    assert seen(rows_to(4), 1) == [(1, 3.0), (2, 4.0), (3, 5.0), (4, 6.0)]
    again = [*rows_to(2), {"step": 3, "time": 2e9, "loss": 9.0}]  # step 4 was not committed
    assert seen(again, 2) == [(1, 3.0), (2, 4.0), (3, 9.0)]
