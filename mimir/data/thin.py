"""Leaves out pairs before a data set is split: of some targets, or beyond a number per target."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.data.draw import MOST_PAIRS, Draws
from mimir.data.table import Table
from mimir.errors import BadInput
from mimir.text import near


@dataclass(frozen=True)
class Thinning:
    """exclude: names of targets whose pairs are left out. most: pairs that each other target keeps
    at most; 0: all. Raises BadInput if that is below 0."""

    exclude: Collection[str] = ()
    most: int = 0

    def __post_init__(self) -> None:
        if self.most < 0:
            raise BadInput(f"--most-pairs-per-target is {self.most}, but must be 0 (all) or more")


ALL_PAIRS = Thinning()


@dataclass(frozen=True, eq=False)
class Thinned:
    """kept: rows that stay, ascending, int64. excluded, capped: pairs that were left out because
    of their target, and beyond the number per target."""

    kept: NDArray[np.int64]
    excluded: int
    capped: int


def thin(table: Table, thinning: Thinning, seed: int) -> Thinned:
    """Which rows of a table stay.

    Of a target with too many pairs those stay whose hashes by Philox are the smallest; which these
    are does not depend on the order of the rows.

    Raises BadInput if a target to exclude is not in the table.
    """
    for name in thinning.exclude:
        if name not in table.vocabulary:
            meant = near(name, table.vocabulary)
            hint = f"; near are {', '.join(meant)}" if meant else ""
            raise BadInput(f"the data has no target {name!r}, which is to be excluded{hint}")
    stays = np.ones(len(table), dtype=bool)
    out = [index for index, name in enumerate(table.vocabulary) if name in thinning.exclude]
    stays[np.isin(table.targets, out)] = False
    excluded = int((~stays).sum())
    if thinning.most:
        pairs = np.flatnonzero(stays & (table.labels == 1))
        keys = table.keys(pairs)
        pairs = pairs[np.lexsort((keys.lo, keys.hi, table.targets[pairs]))]
        words = Draws(seed, MOST_PAIRS).words(len(pairs))
        target = table.targets[pairs]
        order = np.lexsort((words, target))
        first = np.searchsorted(target[order], target[order])
        stays[pairs[order][np.arange(len(order)) - first >= thinning.most]] = False
    kept = np.flatnonzero(stays)
    return Thinned(kept, excluded, len(table) - excluded - len(kept))
