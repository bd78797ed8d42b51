"""Draws distinct windows of given lengths from proteins, uniformly over residues."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.data.draw import Draws
from mimir.data.keys import Keys, window_keys
from mimir.data.proteins import Proteins
from mimir.errors import BadInput

# Rounds of drawing before the rest is taken from a list of all windows. Real proteomes fill a
# length in 2 to 6 rounds, short windows (few distinct ones exist) in more.
ROUNDS = 24


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows tokens[start : start + length] of some proteins; int64 [N] each."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


def length_quota(lengths: NDArray[np.integer], count: int) -> dict[int, int]:
    """How many of `count` windows have each length, in the proportions of `lengths` [P].

    Exact by the method of largest remainders; ties go to the shorter length.
    """
    values, have = np.unique(lengths, return_counts=True)
    total = len(lengths)
    quota = {int(value): int(n) * count // total for value, n in zip(values, have, strict=True)}
    remainder = {int(value): int(n) * count % total for value, n in zip(values, have, strict=True)}
    by_remainder = sorted(remainder, key=lambda value: (-remainder[value], value))
    for value in by_remainder[: count - sum(quota.values())]:
        quota[value] += 1
    return quota


def draw_windows(
    proteins: Proteins,
    quota: dict[int, int],
    taken: Callable[[int], Keys],
    draws: Callable[[int], Draws],
) -> Windows:
    """For each length of `quota` that many windows, distinct and none equal to a taken one.

    A start is uniform over all residues from which the window fits into its protein.
    `taken(length)` gives the keys that are not to be drawn, `draws(length)` the random stream.
    Raises BadInput if the proteins have too few distinct windows of a length.
    """
    ends = np.repeat(proteins.offsets[1:], np.diff(proteins.offsets))
    room = (ends - np.arange(len(proteins.tokens))).astype(np.int32)
    starts, lengths = [], []
    for length, count in sorted(quota.items()):
        found = _draw_length(proteins, room, length, count, taken(length), draws(length))
        starts.append(found)
        lengths.append(np.full(len(found), length, dtype=np.int64))
    return Windows(np.concatenate(starts), np.concatenate(lengths))


def _draw_length(
    proteins: Proteins,
    room: NDArray[np.int32],
    length: int,
    count: int,
    taken: Keys,
    draws: Draws,
) -> NDArray[np.int64]:
    chosen = np.zeros(0, dtype=np.int64)
    keys = taken
    for _ in range(ROUNDS):
        wanted = count - len(chosen)
        if wanted == 0:
            return chosen
        starts = draws.below(len(room), wanted + 16)
        starts = starts[room[starts] >= length]
        chosen, keys = _with_new(proteins, chosen, keys, starts, length, count)
    # Few windows are left to find: list them all, so that none is missed and a lack is certain.
    starts = np.flatnonzero(room >= length).astype(np.int64)
    starts = starts[draws.order(len(starts))]
    chosen, keys = _with_new(proteins, chosen, keys, starts, length, count)
    if len(chosen) < count:
        raise BadInput(
            f"the proteins have {len(chosen)} distinct windows of length {length} that are free, "
            f"but {count} are needed; give more proteins or ask for fewer rows"
        )
    return chosen


def _with_new(
    proteins: Proteins,
    chosen: NDArray[np.int64],
    keys: Keys,
    starts: NDArray[np.int64],
    length: int,
    count: int,
) -> tuple[NDArray[np.int64], Keys]:
    """`chosen` and `keys` with those of `starts` whose window is new, up to `count` chosen."""
    candidates = window_keys(proteins.tokens, starts, np.full(len(starts), length))
    new = np.flatnonzero(keys.with_more(candidates).is_first()[len(keys) :])
    new = new[: count - len(chosen)]
    return np.concatenate([chosen, starts[new]]), keys.with_more(candidates.take(new))
