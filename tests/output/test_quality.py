from dataclasses import replace

import numpy as np

from mimir.data.pack import TRAIN
from mimir.output import quality
from mimir.output.likeness import texts
from mimir.output.quality import RANDOM, SAMPLES, Quality, Reference, known_in
from tests import toys


def test_known_in_tells_training_peptides() -> None:
    data = toys.peptides(60)
    known = known_in(data)

    def some(rows: np.ndarray) -> list[str]:
        return texts(data.tokens, data.offsets, rows)

    training, held = some(data.subset(TRAIN)), some(data.subset(1))
    assert known(training) == [True] * len(training)
    assert known(held) == [False] * len(held)
    cut = [s[:-1] for s in training if len(s) > 10]
    assert known([*cut, *training[:3]]) == [False] * len(cut) + [True] * 3
    assert known([]) == []


def test_quality_of_a_few() -> None:
    reference = Reference(toys.peptides(300))
    copy = reference.real.sequences[0]
    found = reference.quality([copy, copy, "W" * 20])
    assert (found.unique, found.novel, found.copies) == (2 / 3, 1 / 2, 2 / 3)
    assert found.kl > 0.5
    assert Quality(0.5, 1, 0.0, 0.25).sentence == (
        "100% not in the training data, 50% unique, 25% near copies, "
        "composition 0.000 nats from training's"
    )


def test_sets_are_of_one_size_and_held_out() -> None:
    data = toys.peptides(900)
    reference = Reference(data)
    drawn = ["ACDE"] * 200
    sets = reference.sets(drawn)
    held = len(data.subset(quality.KNOWN, 1))
    assert list(sets) == [SAMPLES, "held-out background", RANDOM]  # 30 pairs are too few
    assert {len(some) for some in sets.values()} == {len(data.subset(1, 0))}
    few = reference.sets(drawn[:20])
    assert list(few) == [SAMPLES, "held-out pairs", "held-out background", RANDOM]
    assert {len(some) for some in few.values()} == {20}
    assert held == 30
    training = set(texts(data.tokens, data.offsets, data.subset(TRAIN)))
    assert not training & {*sets["held-out background"], *few["held-out pairs"]}
    assert [len(s) for s in few[RANDOM]] == [len(s) for s in few["held-out pairs"]]
    assert reference.compared(few)[SAMPLES].unique == 1 / 20


def test_without_pairs_background_is_the_measure() -> None:
    data = toys.peptides(300)
    alone = replace(
        data, labels=np.zeros_like(data.labels), targets=np.full_like(data.targets, -1),
        split=np.where(data.split == TRAIN, TRAIN, 1).astype(np.uint8),
    )  # fmt: skip
    reference = Reference(alone)
    assert reference.what == "background"
    assert list(reference.sets(["ACDE"] * 10)) == [SAMPLES, "held-out background", RANDOM]
    assert quality.best_covered(alone) == []


def test_the_best_covered_targets_come_first() -> None:
    data = toys.peptides(300)
    counts = np.bincount(data.targets[data.subset(TRAIN, 1)], minlength=3)
    found = quality.best_covered(data)
    assert sorted(found) == [0, 1, 2]
    assert [counts[target] for target in found] == sorted(counts, reverse=True)
