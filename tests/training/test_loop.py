"""What the loop makes of numbers that are none; its exactness is tested end to end."""

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mimir.errors import NonFinite
from mimir.training import early_stop
from mimir.training.cadence import Cadence
from mimir.training.checkpoint import Snapshot
from mimir.training.engine import Engine
from mimir.training.loop import Loop, ProgressSnapshot, first_record
from mimir.training.validation import Validation
from tests import toys


def loop_of(
    engine: Engine, rows: list[dict[str, Any]], cadence: Cadence | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Loop:  # fmt: skip
    data = toys.peptides()
    return Loop(
        engine, Validation(data, torch.device("cpu"), 100, engine.config.objective), None,
        first_record(engine, data.digest, 1), ProgressSnapshot(), emit=rows.append,
        say=lambda line: None, stop=lambda: "", cadence=cadence, clock=clock,
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


def test_progress_names_the_versions_that_train() -> None:
    progress = loop_of(toys.engine(), []).progress
    assert (progress.torch, progress.python) == (str(torch.__version__), platform.python_version())
    assert progress.cuda == ""  # on a CPU


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


class Commits:
    """A committer whose commits are said to take so many seconds. content: by step, whole."""

    def __init__(self, took: Callable[[float], None], seconds: float) -> None:
        self.took, self.seconds = took, seconds
        self.idle = True
        self.content: dict[int, bytes] = {}

    def put(self, snapshot: Snapshot) -> None:
        self.content[snapshot.record.step] = snapshot.encode()
        self.took(self.seconds)

    def check(self) -> None: ...

    def drain(self, seconds: float) -> bool:
        return True


def trained(notice: float, seconds: float, asked: set[int], busy: set[int]) -> dict[int, bytes]:
    """Checkpoints by step of thirty steps, each of a minute, with one every ten minutes.

    asked: steps before which another one is asked for. busy: those before which one is under way.
    """
    engine = toys.engine(max_steps=30, checkpoint_minutes=10.0, eval_every=7)
    cadence = Cadence(600.0, notice)
    commits = Commits(cadence.took, seconds)
    loop = loop_of(engine, [], cadence, clock=lambda: 60.0 * engine.step)

    def stop() -> str:
        commits.idle = engine.step + 1 not in busy
        if engine.step + 1 in asked:
            cadence.ask()
        return ""

    loop.committer, loop._stop = commits, stop  # type: ignore[assignment]
    loop.run()
    return commits.content


@pytest.mark.parametrize(
    ("notice", "seconds", "asked", "busy", "steps"),
    [
        (30.0, 1.0, set(), set(), [0, 10, 20, 30]),
        (30.0, 1.0, {4, 13}, set(), [0, 4, 13, 23, 30]),
        (30.0, 1.0, {4}, {4, 5}, [0, 6, 16, 26, 30]),  # as soon as the one before is there
        (30.0, 200.0, set(), set(), [0, 7, 14, 21, 28, 30]),  # the notice does not suffice
    ],
    ids=["as configured", "asked", "asked while one is under way", "shortened"],
)
def test_where_checkpoints_fall_changes_no_bit_of_the_training(
    notice: float, seconds: float, asked: set[int], busy: set[int], steps: list[int]
) -> None:
    plain, other = trained(0.0, 1.0, set(), set()), trained(notice, seconds, asked, busy)
    assert list(other) == steps
    for step in plain.keys() & other.keys():
        assert plain[step] == other[step], f"the checkpoint of step {step} is another one"
