"""What the loop makes of numbers that are none; its exactness is tested end to end."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mimir.errors import NonFinite
from mimir.training import early_stop
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


class Asked(TorchDispatchMode):
    """Counts what makes the host wait for a GPU: numbers that are read, and copies to the host."""

    WAITS = ("aten._local_scalar_dense", "aten.nonzero", "aten.sum", "aten.cat")

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._device = {each.data_ptr() for each in engine.state.tensors().values()}

    def __torch_dispatch__(
        self, function: Any, types: Any, inputs: Any = (), more: Any = None
    ) -> Any:
        name = str(function).rpartition(".")[0]
        # What is read or summed up after it was copied is on the host already.
        direct = any(isinstance(x, torch.Tensor) and x.data_ptr() in self._device for x in inputs)
        if name in self.WAITS and (direct or "aten.cat" not in self.seen):
            self.seen.append(name)
        return function(*inputs, **(more or {}))


def test_a_row_of_metrics_is_one_copy_from_the_device() -> None:
    engine = toys.engine(log_every=4, max_steps=8, eval_every=1, patience=2, cooldown_steps=1)
    rows: list[dict[str, Any]] = []
    loop = loop_of(engine, rows)
    engine.advance(4)
    early_stop.judge(engine, 2.0)
    loop.record = replace(loop.record, evaluated=4)
    with Asked(engine) as asked:
        loop._log()
    assert loop.progress.expected_end == 7
    assert asked.seen == ["aten.cat"], "something was asked of the device beside the packed row"
    (row,) = rows
    state = engine.state
    assert row["lr"] == float(state.rate)
    assert row["loss"] == float(state.losses[:4].double().mean())
    assert row["norm"] == float(state.norms[:4].double().mean())
    lengths = engine.data.lengths
    each = 1e-3 * row["steps_per_s"] + 0.2
    batch = engine.config.training.batch
    assert abs(row["tokens_per_s"] / batch / lengths.double().mean() - row["steps_per_s"]) < each


def test_the_gauge_says_what_the_loop_runs_on() -> None:
    loop = loop_of(toys.engine(max_steps=2), [])
    assert loop.progress.device.endswith(("thread)", "threads)"))
