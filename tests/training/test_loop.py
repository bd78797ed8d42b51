"""What the loop makes of numbers that are none; its exactness is tested end to end."""

from typing import Any

import pytest
import torch

from mimir.errors import NonFinite
from mimir.training.engine import Engine
from mimir.training.loop import Loop, ProgressSnapshot, first_record
from mimir.training.validation import Validation
from tests import toys


def loop_of(engine: Engine, rows: list[dict[str, Any]]) -> Loop:
    data = toys.peptides()
    return Loop(
        engine, Validation(data, torch.device("cpu"), 100, engine.config.objective), None,
        first_record(engine, data.digest, 1), ProgressSnapshot(), emit=rows.append,
        say=lambda line: None, stop=lambda: "",
    )  # fmt: skip


@pytest.mark.parametrize(("log", "validate"), [(2, 50), (50, 3), (3, 3)])
def test_nan_is_told_from_whichever_side_it_is_seen_first(log: int, validate: int) -> None:
    engine = toys.engine(log_every=log, eval_every=validate)
    with torch.no_grad():
        engine.model.norm.weight[0] = float("nan")
    rows: list[dict[str, Any]] = []
    with pytest.raises(NonFinite, match=f"by step {min(log, validate)}:"):
        loop_of(engine, rows).run()
    assert rows == []


def test_a_skipped_fp16_step_leaves_numbers_in_the_metrics() -> None:
    engine = toys.engine(toys.HALF, log_every=2, max_steps=6)
    toys.overflowing(engine, {1, 2, 3})
    rows: list[dict[str, Any]] = []
    loop_of(engine, rows).run()
    training = [row for row in rows if "norm" in row]
    assert [row["step"] for row in training] == [2, 4, 6]
    assert training[1]["loss"] is None
    assert training[1]["norm"] is None
    assert all(0 < training[i]["loss"] < 10 for i in (0, 2))


def test_the_gauge_says_what_the_loop_runs_on() -> None:
    loop = loop_of(toys.engine(max_steps=2), [])
    assert loop.progress.device.endswith(("thread)", "threads)"))
