from dataclasses import replace

import pytest

from mimir.runs.origin import STATE, Origin
from mimir.runs.stopping import End, of_rows

EARLY = End(12_000, 620_000, 11_000, 6000, 2.8115, 2.8115, 2.8202, rate=40.0, price=0.5)


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (
            EARLY,
            "ended early at step 12,000 of 620,000: the other 608,000 would have taken 4.2 h more "
            "and $2.11; the held-out figure did not improve in the last 6,000 steps; the best "
            "weights are those of step 6,000, chosen on a separate validation half (2.8115 nats "
            "per residue, 2.8202 at the end)",
        ),
        (
            replace(EARLY, last=2.81148),  # as printed the same
            "chosen on a separate validation half (2.8115 nats per residue)",
        ),
        (replace(EARLY, price=None), "would have taken 4.2 h more; the held-out"),
        (replace(EARLY, rate=None), "ended early at step 12,000 of 620,000; the held-out"),
        (
            replace(EARLY, best_step=12_000, best=2.8015, last=2.8015),
            "; the cooldown's 1,000 steps improved the held-out figure by 0.0100 nats per residue; "
            "the best weights are",
        ),
        (
            replace(EARLY, total=12_000, cooldown=-1),
            "took all 12,000 steps; the held-out figure did not improve in the last 6,000 steps; ",
        ),
        (
            replace(EARLY, total=12_000, cooldown=-1, best_step=12_000),
            "the last validation is the best, so more epochs may improve it",
        ),
        (
            replace(EARLY, total=12_000, cooldown=-1, best_step=-1, last=None),
            "took all 12,000 steps; no held-out peptides select, so that the last weights are",
        ),
    ],
)
def test_one_line(end: End, words: str) -> None:
    assert words in end.sentence


def test_the_metrics_tell_the_same() -> None:
    figures = {1000: 2.9, 2000: 2.8, 3000: 2.82, 4000: 2.81, 5000: 2.79}
    rows = [{"step": step, "val": 2.9, "selection": figure} for step, figure in figures.items()]
    rows.insert(1, {"step": 64, "loss": 2.0, "steps_per_s": 40.0})
    rows.append({"step": 5000, "val": None, "selection": None})
    assert of_rows(rows, 5000, 9000, 2, 1000, 0.5) == End(
        5000, 9000, 4000, 5000, 2.79, 2.8, 2.79, 40.0, 0.5
    )
    for patience, cooldown in ((0, -1), (3, -1), (2, 4000), (1, 3000)):
        whole = of_rows(rows, 5000, 5000, patience, 2000, None)
        assert (whole.cooldown, whole.best_step) == (cooldown, 5000)
        assert whole.before == (2.79 if cooldown < 0 else 2.8)
    assert of_rows(rows[:-2], 4000, 4000, 2, 1000, None).cooldown == -1, "at the last step"
    assert of_rows([], 10, 10, 2, 5, None).best_step == -1


def test_a_run_that_goes_on_must_beat_what_it_began_with() -> None:
    """As its training state remembers it, which counts validations in vain from its own first."""
    rows = [{"step": 1000 * n, "selection": 2.9 - n / 100} for n in range(4, 7)]
    origin = Origin(STATE, "first", 3000, "0" * 64, "0" * 64, best_step=2000, best=2.8)
    told = of_rows(rows, 6000, 6000, 2, 1000, None, origin)
    assert (told.best_step, told.best, told.last, told.cooldown) == (2000, 2.8, 2.84, 5000)
    assert of_rows([], 3000, 6000, 2, 1000, None, origin).last is None
    beaten = of_rows([*rows, {"step": 7000, "selection": 2.7}], 7000, 7000, 3, 1, None, origin)
    assert (beaten.best_step, beaten.cooldown, beaten.before) == (7000, 6000, 2.8)
