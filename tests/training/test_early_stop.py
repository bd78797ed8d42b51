"""The best weights, and the end of a run that no longer improves."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mimir.data.pack import KNOWN, VALIDATION
from mimir.data.peptides import Peptides
from mimir.errors import Interrupted
from mimir.runs.figures import SELECTION
from mimir.runs.stopping import of_rows
from mimir.training import checkpoint, early_stop, update
from mimir.training.engine import Engine, Update
from mimir.training.loop import Loop, ProgressSnapshot, first_record
from mimir.training.validation import Validation
from tests import toys
from tests.training.test_update import fused

CPU = torch.device("cpu")
SETTINGS: dict[str, Any] = {
    "eval_every": 3, "patience": 2, "cooldown_steps": 4, "pair_share": 0.33, "log_every": 2,
}  # fmt: skip


class Training:
    """A loop whose selecting figures are told by the step, with what it said."""

    def __init__(self, data: Peptides, worse_from: int, **settings: Any) -> None:
        self.data = data
        self.engine = toys.engine(data=data, **{**SETTINGS, **settings})
        self.record = first_record(self.engine, data.digest, 1)
        self.validation = Validation(data, CPU, 4, self.engine.config.objective)
        if worse_from:
            self.validation.select = (  # type: ignore[method-assign]
                lambda engine: 2.5 + abs(engine.step - worse_from) / 100
            )
        self.rows: list[dict[str, Any]] = []
        self.said: list[str] = []

    def run(self, until: int = 10**9) -> str:
        loop = Loop(
            self.engine, self.validation, None, self.record, ProgressSnapshot(),
            emit=self.rows.append, say=self.said.append,
            stop=lambda: "enough" if self.engine.step >= until else "",
        )  # fmt: skip
        try:
            return loop.run()
        finally:
            self.kept, self.end = loop.snapshot().encode(), loop.end

    def go_on(self, other: "Training") -> "Training":
        """From where the other was left."""
        config = self.engine.config.sha256()
        self.record, tensors = checkpoint.decode(other.kept, config, self.data.digest)
        self.engine.resume(tensors)
        return self


@pytest.fixture(scope="module")
def data() -> Peptides:
    return toys.halved(toys.peptides(200))


@pytest.mark.parametrize("how", [update.unfused, fused])
def test_it_ends_at_the_same_step_wherever_it_was_interrupted(data: Peptides, how: Update) -> None:
    calm = Training(data, 6)
    calm.engine._update = how
    assert calm.run() == "stopped early"
    state = calm.engine.state
    # Best at 6, worse at 9 and 12, and four steps of cooldown from there.
    assert (int(state.best_step), int(state.cooldown), calm.engine.step) == (6, 12, 16)
    assert calm.engine.total > 30
    assert float(state.best_figure) == 2.5
    rates = {row["step"]: row["lr"] for row in calm.rows if "lr" in row}
    assert rates[12] > rates[14] > rates[16]
    settings = calm.engine.config.optimizer
    assert rates[16] == pytest.approx(settings.lr * settings.final_lr)
    assert sum("none of the last 2 validations was better" in line for line in calm.said) == 1
    torn = Training(data, 6)
    for step in range(1, 16):
        torn.engine._update = how
        with pytest.raises(Interrupted):
            torn.run(step)
        if step == 6:
            assert torch.equal(torn.engine.state.ema, state.best)
        torn = Training(data, 6).go_on(torn)
    torn.engine._update = how
    assert torn.run() == "stopped early"
    assert torn.engine.step == 16
    one, two = toys.tensors(calm.engine), toys.tensors(torn.engine)
    assert not [name for name in one if not torch.equal(one[name], two[name])]


@pytest.mark.parametrize(("patience", "steps", "best"), [(0, 24, 6), (6, 24, 6), (5, 22, 6)])
def test_the_epochs_are_the_ceiling(data: Peptides, patience: int, steps: int, best: int) -> None:
    """Patience that runs out too late for a whole cooldown does not prolong the run."""
    training = Training(data, 6, patience=patience, max_steps=steps, epochs=10)
    assert training.run() == "finished"
    state = training.engine.state
    assert (training.engine.step, int(state.best_step)) == (steps, best)
    assert (int(state.cooldown) >= 0) == (patience == 5)


def test_patience_begins_anew_with_each_better_validation(data: Peptides) -> None:
    training = Training(data, 18)
    assert training.run() == "stopped early"
    assert (int(training.engine.state.best_step), training.engine.step) == (18, 28)


def test_the_cooldown_may_still_find_the_best(data: Peptides) -> None:
    training = Training(data, 0)
    figures = iter([2.6, 2.7, 2.8, 2.4, 2.5])
    training.validation.select = lambda engine: next(figures)  # type: ignore[method-assign]
    assert training.run() == "stopped early"
    state = training.engine.state
    assert (int(state.best_step), training.engine.step) == (12, 13)
    assert not torch.equal(state.best, state.ema)
    assert (
        "the cooldown's 4 steps improved the held-out figure by 0.2000 nats per residue"
        in training.end.sentence
    )


@pytest.mark.parametrize("steps", [12, 10, 9])
def test_the_metrics_tell_of_the_end_what_the_state_does(data: Peptides, steps: int) -> None:
    """Also where the epochs' end cuts the cooldown short, or comes before it."""
    training = Training(data, 0, max_steps=steps, epochs=10)
    figures = iter([2.6, 2.7, 2.8, 2.4])
    training.validation.select = lambda engine: next(figures)  # type: ignore[method-assign]
    assert training.run() == "finished"
    told = of_rows(training.rows, steps, steps, 2, 4, None)
    assert (told.cooldown, told.best_step) == (training.end.cooldown, training.end.best_step)
    assert told.sentence == training.end.sentence


def test_selection_never_reads_the_half_that_is_reported(data: Peptides) -> None:
    """Other peptides there: the same best weights at the same step, and other figures."""
    reported = np.repeat(np.isin(data.split, (VALIDATION, KNOWN)), data.lengths)
    other = replace(data, tokens=np.where(reported, (data.tokens + 7) % 20, data.tokens))
    one, two = Training(data, 0, lr=0.1), Training(other, 0, lr=0.1)
    assert one.run() == two.run()
    first, second = toys.tensors(one.engine), toys.tensors(two.engine)
    assert not [name for name in first if not torch.equal(first[name], second[name])]
    assert int(first["loop.best_step"]) > 0
    mine = [row[SELECTION] for row in one.rows if "val" in row]
    assert mine == [row[SELECTION] for row in two.rows if "val" in row]
    for key in ("val", "val_known"):
        assert [row.get(key) for row in one.rows] != [row.get(key) for row in two.rows]


def test_without_anything_that_selects_the_last_weights_are_the_best() -> None:
    data = toys.peptides(200)  # all that is held out is reported
    training = Training(data, 0, max_steps=9)
    assert training.run() == "finished"
    state = training.engine.state
    assert int(state.best_step) == -1
    assert state.best_or_last is state.ema
    assert "the last weights are taken as the best" in training.end.sentence


def test_where_patience_would_end_it_is_told_while_it_runs() -> None:
    engine = toys.engine(patience=3, cooldown_steps=7, epochs=30)
    assert early_stop.expected_end(engine, -1, 5) is None
    engine.advance(5)
    early_stop.judge(engine, 2.0)
    assert early_stop.expected_end(engine, 5, 5) == 5 + 3 * 5 + 7
    engine.advance(5)
    early_stop.judge(engine, 2.1)
    assert early_stop.expected_end(engine, 10, 5) == 5 + 3 * 5 + 7
    resumed = toys.engine(patience=3, cooldown_steps=7, epochs=30)
    resumed.resume(toys.tensors(engine))
    assert early_stop.expected_end(resumed, 10, 5) == 5 + 3 * 5 + 7
    engine.begin_cooldown()
    assert early_stop.expected_end(engine, 10, 5) is None
    assert engine.end == 17


def test_judging_moves_no_address() -> None:
    engine: Engine = toys.engine()
    before = {name: value.data_ptr() for name, value in engine.state.tensors().items()}
    engine.advance(3)
    early_stop.judge(engine, 2.0)
    for _ in range(10):
        early_stop.judge(engine, 3.0)
    assert before == {name: value.data_ptr() for name, value in engine.state.tensors().items()}
