"""Scores against the exact bound, by enumeration of all masks; and their errors."""

import itertools

import numpy as np
import pytest
import torch

from mimir.data.alphabet import MASK, MAX_LENGTH, N_LETTERS, STANDARD
from mimir.model.batch import Batch
from mimir.model.denoiser import Denoiser
from mimir.output import score
from mimir.output.condition import BACKGROUND, OPEN, Condition
from mimir.output.peptide_file import Entry
from mimir.output.sampling import _logits
from mimir.output.score import Scorer, ranks
from mimir.output.score_sheet import rows_of
from tests import toys

TOLD = Condition(1, 2, "P00002")
SHIFTED = Condition(1, None, "new", tuple(0.1 * (i % 7) - 0.3 for i in range(N_LETTERS)))


@pytest.fixture(scope="module")
def model() -> Denoiser:
    engine = toys.engine(lr=0.02)
    engine.advance(30)
    with torch.no_grad():  # learnt so little, a model would hardly tell its conditions apart
        engine.model.head.weight.mul_(5)
        engine.model.label.mul_(10)
        engine.model.target.mul_(10)
        engine.model.head.bias[len(STANDARD) :] = -50  # what is not drawn is not likely either
    return engine.model


def peptides(count: int, low: int = 4, high: int = 20) -> list[str]:
    random = np.random.default_rng(3)
    return [
        "".join(random.choice(list(STANDARD), random.integers(low, high + 1))) for _ in range(count)
    ]


def exact(model: Denoiser, sequence: str, condition: Condition) -> float:
    """L times the mean over counts of the mean over masks of the mean over the masked residues."""
    size = len(sequence)
    letters = torch.tensor([STANDARD.index(letter) for letter in sequence])
    total = 0.0
    for count in range(1, size + 1):
        masks = torch.tensor(list(itertools.combinations(range(size), count)))
        wanted = torch.zeros(len(masks), MAX_LENGTH, dtype=torch.bool).scatter(1, masks, True)
        row = torch.full((MAX_LENGTH,), MASK)
        row[:size] = letters
        tokens = torch.where(wanted, MASK, row)
        with torch.no_grad():
            logits = _logits(model, tokens, torch.full((len(masks),), size), wanted, condition)
        picked = row.expand(len(masks), -1)[wanted]
        total -= float(logits.gather(1, picked[:, None]).sum()) / (count * len(masks))
    return total


@pytest.mark.parametrize("condition", [TOLD, BACKGROUND, OPEN, SHIFTED])
def test_a_score_is_the_exact_bound_within_its_error(model: Denoiser, condition: Condition) -> None:
    some = peptides(25, high=7)
    truth = np.array([exact(model, each, condition) for each in some])
    found = Scorer(model, some, 60).scores(condition).nelbo
    z = (found.value - truth) / found.error
    # The counts lie in strata, so the error is rather too large than too small.
    assert np.abs(z).max() < 5
    assert 0.02 < float((z**2).mean()) < 2
    few = Scorer(model, some, 12).scores(condition).nelbo
    assert few.error.mean() > found.error.mean()


def test_differences_are_of_the_same_masks(model: Denoiser) -> None:
    some = peptides(30)
    scorer = Scorer(model, some, 12)
    told = scorer.scores(TOLD)
    untold = scorer.scores(TOLD.untold)
    background = scorer.scores(BACKGROUND)
    np.testing.assert_allclose(
        told.over_untold.value, untold.nelbo.value - told.nelbo.value, rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(
        told.over_background.value, background.nelbo.value - told.nelbo.value, rtol=0, atol=1e-9
    )
    assert not untold.over_untold.value.any()
    assert not untold.over_untold.error.any()
    assert not background.over_background.value.any()
    # Independent masks would give the errors' squares added up.
    apart = np.hypot(told.nelbo.error, untold.nelbo.error)
    assert (told.over_untold.error < apart).mean() > 0.8
    assert told.key(TOLD) is told.over_untold
    assert untold.key(TOLD.untold) is untold.over_background
    shifted = scorer.scores(SHIFTED)
    assert shifted.key(SHIFTED) is shifted.over_untold
    assert (shifted.over_untold.value != 0).all()
    assert (background.key(BACKGROUND).value == -background.nelbo.value).all()


def test_a_score_does_not_depend_on_what_else_is_scored(model: Denoiser) -> None:
    some = peptides(300)
    all_at_once = Scorer(model, some).scores(TOLD)
    alone = Scorer(model, some[250:251]).scores(TOLD)
    assert alone.nelbo.value[0] == pytest.approx(all_at_once.nelbo.value[250], abs=1e-4)
    turned = Scorer(model, some[::-1]).scores(TOLD)
    np.testing.assert_allclose(turned.nelbo.value[::-1], all_at_once.nelbo.value, atol=1e-4)
    twice = Scorer(model, [some[0], some[0]]).nelbos(TOLD)
    np.testing.assert_allclose(twice[0], twice[1], atol=1e-4)


def test_progress_adds_up(model: Denoiser) -> None:
    done: list[int] = []
    conditions = [TOLD, Condition(1, 0, "P00000"), TOLD.untold]
    scorer = Scorer(model, peptides(90), 12, done.append)
    for condition in conditions:
        scorer.scores(condition)
    assert sum(done) == 90 * Scorer.passes(conditions) == 90 * 4


def test_rows_rank_peptides_and_targets(model: Denoiser) -> None:
    some = peptides(3)
    entries = [Entry(each, "", "here") for each in some]
    conditions = [TOLD, Condition(1, 0, "P00000")]
    scorer = Scorer(model, some)
    found = [scorer.scores(condition) for condition in conditions]
    rows = rows_of(entries, ["P00002", "P00000"], conditions, found)
    assert [row["rank"] for row in rows] == [1, 2, 3] * 2
    assert [row["target"] for row in rows] == ["P00002"] * 3 + ["P00000"] * 3
    for part in (rows[:3], rows[3:]):
        gains = [row["over_untold"] for row in part]
        assert gains == sorted(gains, reverse=True)
    for each in some:
        first, second = (row for row in rows if row["sequence"] == each)
        better = first["over_untold"] > second["over_untold"]
        assert (first["target_rank"], second["target_rank"]) == ((1, 2) if better else (2, 1))
        assert first["nelbo_per_residue"] == first["nelbo"] / len(each)
    unknown = Condition(name="unknown")
    assert Scorer.passes([*conditions, unknown]) == Scorer.passes(conditions)
    rows = rows_of(entries, ["P00002", "unknown"], [TOLD, unknown],
                   [found[0], scorer.scores(unknown)])  # fmt: skip
    for row in rows[:3]:
        assert row["target_rank"] == (1 if row["over_untold"] >= 0 else 2)
    assert [row["over_untold"] for row in rows[3:]] == [0.0] * 3
    (row,) = rows_of(entries[:1], [""], [TOLD.untold], [Scorer(model, some[:1]).scores(OPEN)])
    assert (row["target"], row["target_rank"]) == (None, None)


def test_ranks() -> None:
    assert ranks(np.array([1.0, 3.0, 2.0, 3.0])).tolist() == [4, 1, 3, 2]


def test_masks_are_uniform_over_counts_and_places(
    model: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In as many repeats as there are residues each count comes once; each place as often."""
    some = peptides(300, low=6, high=6)
    monkeypatch.setattr(score, "bound", lambda model, batch: torch.ones(len(batch.token_labels)))
    counts = Scorer(model, some, 6).nelbos(TOLD)
    assert (np.sort(counts, axis=1) == np.arange(1, 7)).all()

    def places(model: Denoiser, batch: Batch) -> torch.Tensor:
        assert batch.layout.predict is not None
        return 10.0 ** (batch.layout.slot_of[batch.layout.predict] % MAX_LENGTH)

    monkeypatch.setattr(score, "bound", places)
    digits = Scorer(model, some, 6).nelbos(TOLD).sum(1).astype(int)
    hidden = np.array([[int(digit) for digit in str(each)[::-1]] for each in digits])
    assert hidden.shape == (300, 6)
    assert (hidden.sum(1) == 21).all()
    # A place is hidden in c of 6 with chance c / 6: variance 35 / 36 of the six counts together.
    assert (abs(hidden.mean(0) - 3.5) < 4 * np.sqrt(35 / 36 / 300)).all()


def test_a_uniform_model_costs_ln_25(model: Denoiser) -> None:
    """Each residue costs ln 25, whatever is masked."""
    del model
    flat = Denoiser(toys.config().model, 20, 3)
    with torch.no_grad():
        for value in flat.parameters():
            value.zero_()
    some = [*peptides(40), "AAAA", "A" * 20]
    found = Scorer(flat, some, 7).scores(Condition())
    sizes = np.array([len(each) for each in some])
    np.testing.assert_allclose(found.nelbo.value, sizes * np.log(25), rtol=1e-5)
    assert (found.nelbo.error < 1e-4).all()
