"""Which checkpoints of a run are kept: the newest and the best."""

from mimir.runs.head import Kept

NEWEST = 3


def retain(kept: tuple[Kept, ...], new: Kept) -> tuple[tuple[Kept, ...], str | None]:
    """(what to keep, key of the best): the newest three and the lowest loss.

    A checkpoint of the same step is replaced by the new one.
    """
    ranked = sorted([*(old for old in kept if old.step != new.step), new], key=lambda k: k.step)
    best = best_of(tuple(ranked))
    return tuple(k for k in ranked if k in ranked[-NEWEST:] or k.key == best), best


def best_of(kept: tuple[Kept, ...]) -> str | None:
    """Key of the lowest loss, the earlier one if equal; None if no loss was measured."""
    measured = [(k.loss, k.step, k.key) for k in kept if k.loss is not None]
    return min(measured)[2] if measured else None
