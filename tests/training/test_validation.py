import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mimir.config import Objective
from mimir.data.alphabet import N_LETTERS
from mimir.data.pack import KNOWN, VALIDATION
from mimir.data.split import SELECTION, SELECTION_KNOWN
from mimir.model.batch import DeviceData, plan_evaluation
from mimir.model.objective import evaluate
from mimir.runs.figures import FIGURES
from mimir.training import figures
from mimir.training.figures import Selection, per_residue
from mimir.training.validation import Validation, ema_weights
from tests import toys

CPU = torch.device("cpu")


def nothing() -> None:
    return None


def trained() -> toys.Engine:
    engine = toys.engine()
    engine.advance(10)
    return engine


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ema_weights_inside_live_ones_after(dtype: torch.dtype) -> None:
    machine = toys.Machine(CPU, dtype, compiled=False, fixed=False)
    engine = toys.engine(machine)
    engine.advance(10)
    before = toys.tensors(engine)
    low = engine.state.low.clone()

    def inside() -> None:
        with ema_weights(engine):
            weight = engine.model.head.weight
            assert torch.equal(weight, before["ema.head.weight"].to(dtype))
            assert not torch.equal(before["ema.head.weight"], before["model.head.weight"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        inside()
    assert torch.equal(engine.state.low, low)
    after = toys.tensors(engine)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_figures_are_of_the_ema_weights_and_move_nothing() -> None:
    engine, data = trained(), toys.peptides(200)
    validation = Validation(data, CPU, 1000, Objective())
    assert len(validation.held.background) == len(data.subset(VALIDATION, 0))
    assert len(validation.held.known) == len(data.subset(KNOWN, 1)) > 0
    assert len(validation.held.pairs) == 0
    before = toys.tensors(engine)
    found = validation.measure(engine, nothing)
    assert found == validation.measure(engine, nothing)
    after = toys.tensors(engine)
    assert all(torch.equal(before[name], after[name]) for name in before)
    with ema_weights(engine):
        nats = evaluate(engine.model, validation.held.background, 20, repeats=2)
    assert found["val"] == pytest.approx(
        float(nats.sum()) / int(validation.held.background.lengths.sum())
    )
    assert found["val"] != per_residue(
        evaluate(engine.model, validation.held.background, 20, repeats=2),
        validation.held.background,
    )
    assert 2 < found["val"] < 1.2 * math.log(N_LETTERS)


@pytest.mark.parametrize(
    ("label", "name"), [(1, "pairs of known targets and background"), (0, "background")]
)
def test_one_half_selects_and_the_other_is_reported(label: int, name: str) -> None:
    data = toys.peptides(600)
    if not label:  # without pairs the background selects
        data = replace(data, labels=data.labels * 0, targets=data.targets * 0 - 1,
                       split=np.where(data.split == KNOWN, VALIDATION, data.split))  # fmt: skip
    data, engine = toys.halved(data), trained()

    def seen(changed: tuple[int, ...]) -> tuple[dict[str, float], float | None]:
        """Both figures with other letters in some parts of the data."""
        letters = np.repeat(np.isin(data.split, changed), data.lengths)
        other = replace(data, tokens=np.where(letters, (data.tokens + 1) % 20, data.tokens))
        validation = Validation(other, CPU, 1000, Objective())
        assert validation.selection is not None
        assert validation.selection.name == name
        return validation.measure(engine, nothing), validation.select(engine)

    reported, selected = seen(())
    without_reported = seen((VALIDATION, KNOWN))
    without_selection = seen((SELECTION, SELECTION_KNOWN))
    assert without_reported[1] == selected != without_selection[1]
    assert without_selection[0] == reported != without_reported[0]


def test_each_kind_that_selects_counts_alike() -> None:
    data, engine = toys.halved(toys.peptides(600)), trained()
    split = np.where(data.split == KNOWN, SELECTION, data.split).astype("u1")
    validation = Validation(replace(data, split=split), CPU, 5, Objective())
    selection = validation.selection
    assert selection is not None
    kinds = ("pairs of known targets", "pairs of unseen targets", "background")
    assert tuple(kind.name for kind in selection.kinds) == kinds
    assert validation.passes == 2 * validation.held.passes + (12 + 12 + 2) * 5
    with ema_weights(engine):
        alone = [
            Selection((kind,)).measure(engine.model, engine.config.objective.timesteps)
            for kind in selection.kinds
        ]
    assert len(set(alone)) == 3
    assert validation.select(engine) == pytest.approx(sum(alone) / 3)


def test_background_selects_by_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "SELECTING_ROWS", 7)
    selection = Selection.of(toys.halved(toys.peptides(600)), CPU, 1000, Objective())
    assert selection is not None
    sizes = {kind.name: len(kind.data) for kind in selection.kinds}
    assert sizes.pop("background") == 7
    assert min(sizes.values()) > 7


def test_a_limit_of_rows() -> None:
    validation = Validation(toys.peptides(400), CPU, 5, Objective())
    assert (len(validation.held.background), len(validation.held.known)) == (5, 5)
    assert validation.held.passes == 5 + 3 * 5


@pytest.mark.parametrize("composition", ["on", "off"])
def test_the_embedding_of_a_target_that_was_not_trained_is_none(composition: str) -> None:
    """In validation and wherever else peptides come to a model."""
    data = toys.peptides(300)
    split = np.where(data.targets == 1, VALIDATION, data.split).astype("u1")
    objective = Objective(composition=composition)
    validation = Validation(replace(data, split=split), CPU, 1000, objective)

    def told(held: DeviceData) -> set[int]:
        return set(plan_evaluation(held, 0, len(held), 0, 1, 20).target.tolist())

    assert told(validation.held.pairs) == told(validation.held.untold) == {toys.TARGETS}
    assert told(validation.held.known) == told(validation.held.shuffled) == {0, 2}
    engine = trained()
    before = validation.measure(engine, nothing)
    with torch.no_grad():
        for weights in (engine.model.target, engine.state.tensors()["ema.target"]):
            weights[1] += 100
    engine.state.low.copy_(engine.state.master)
    assert validation.measure(engine, nothing) == before


def test_a_limit_takes_rows_from_everywhere() -> None:
    """A file may be sorted: its first rows are no sample."""
    data = toys.peptides(400)
    held = Validation(data, CPU, 5, Objective()).held
    starts = held.background.starts.tolist()
    rows = data.subset(VALIDATION, 0)
    assert starts == [int(data.offsets[rows[place * len(rows) // 5]]) for place in range(5)]


def test_every_pair_is_told_another_target() -> None:
    # Pairs whose targets are balanced: then no one may keep its own.
    data = toys.peptides(300)
    rows = data.subset(KNOWN)
    targets = data.targets.copy()
    targets[rows] = np.arange(len(rows)) % 2
    validation = Validation(replace(data, targets=targets), CPU, 1000, Objective())
    assert len(rows) % 2 == 0
    own, told = validation.held.known.targets, validation.held.shuffled.targets
    assert bool((own != told).all())
    assert own.sort().values.tolist() == told.sort().values.tolist()
    for name in ("tokens", "starts", "lengths", "labels"):
        assert torch.equal(
            getattr(validation.held.known, name), getattr(validation.held.shuffled, name)
        )


def test_nothing_held_out() -> None:
    data = toys.peptides(lengths=[5] * 9)  # the tenth row would be the first one held out
    validation = Validation(data, CPU, 100, Objective())
    figures = validation.measure(trained(), nothing)
    assert figures == dict.fromkeys(figure.key for figure in FIGURES)
    assert validation.select(trained()) is None
    assert validation.passes == 0
    assert validation.sentence(7, figures, None, False) == "validation at step 7:"


def test_the_poll_may_end_it() -> None:
    engine, asked = trained(), []

    def poll() -> None:
        asked.append(1)
        if len(asked) == 2:
            raise KeyboardInterrupt

    low = engine.state.low.clone()
    with pytest.raises(KeyboardInterrupt):
        Validation(toys.peptides(), CPU, 50, Objective()).measure(engine, poll)
    assert torch.equal(engine.state.low, low)


def test_the_sentence_names_figures_and_baselines() -> None:
    validation = Validation(toys.halved(toys.peptides()), CPU, 50, Objective())
    values = (2.87, 2.885, 2.89, 2.8, 2.5, 2.6, 2.55)
    keys = [figure.key for figure in FIGURES]
    found = dict(zip(keys, values, strict=True))
    assert validation.sentence(40, found, 2.45, True) == (
        "validation at step 40: background 2.8700 nats per residue (composition 2.9000, order-2 "
        "Markov 2.8900); pairs of unseen targets 2.8850, with shuffled targets 2.8900, with none "
        "2.8000 (composition 2.9000, closed form of the targets 2.8800); pairs of known targets "
        "2.5000, with shuffled targets 2.6000, with none 2.5500 (composition 2.9000, closed form "
        "of the targets 2.8800); selection by pairs of known targets and background: 2.4500, the "
        "best so far; pairs of unseen targets: the model (2.8850) does not reach the closed form "
        "(2.8800), which counts letters and learns nothing"
    )


def test_per_residue_weighs_by_length() -> None:
    data = toys.peptides(lengths=[4, 20])
    device_data = DeviceData.of(data, np.arange(2), CPU, Objective())
    assert per_residue(torch.tensor([8.0, 40.0]), device_data) == pytest.approx(48 / 24)
