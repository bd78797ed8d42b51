"""How alike targets are: what one that has no pairs may borrow from those that have.

By their sequences: J, the Jaccard index of the sets of their words of 4 letters, as a weight
min(1, 1000 J^2). It is near 0 for proteins that share words by chance (J below 0.005) and 1 from
J = 0.032 on, where proteins are relatives. Measured on held-out targets of three splits; the
figures are flat around these numbers.

By features, such as the mean embeddings of a protein language model: c, the cosine after the mean
of the trained targets is taken off (without that all embeddings of such a model look alike), as a
weight max(0, 2 c - 1)^2. Chosen by reasoning, not measured.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from mimir.data import files
from mimir.data.alphabet import BYTE_OF_ID
from mimir.data.keys import kmers
from mimir.data.proteins import Proteins
from mimir.errors import BadInput

WORD = 4
"""Letters of the words whose sets are compared."""
STEEP = 1000.0
MOST_FEATURES = 1 << 14
_BLOCK = 128
"""Targets that are compared with all others at once: of 32,768 it takes some hundred MB."""


@dataclass(frozen=True, eq=False)
class Described:
    """What is known of V targets themselves. Features go before sequences if there are any.

    Target i has the sequence tokens[offsets[i] : offsets[i + 1]], which may be empty: uint8 [S] and
    int64 [V + 1]. `features` float32 [V, F], F = 0 if none are given.
    """

    tokens: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def width(self) -> int:
        """F; 0 if sequences decide."""
        return int(self.features.shape[1])

    @property
    def known(self) -> NDArray[np.bool_]:
        """Of which targets there is something to compare, bool [V]."""
        if self.width:
            return np.ones(len(self), dtype=bool)
        return np.asarray(np.diff(self.offsets) >= WORD)

    def part(self, start: int, stop: int) -> "Described":
        """Those from `start` to before `stop`."""
        first, last = self.offsets[start], self.offsets[stop]
        offsets = self.offsets[start : stop + 1] - first
        return Described(self.tokens[first:last], offsets, self.features[start:stop])

    def sequence(self, index: int) -> str:
        """A target's sequence; "" if there is none."""
        own = self.tokens[self.offsets[index] : self.offsets[index + 1]]
        return BYTE_OF_ID[own].tobytes().decode("ascii")

    @staticmethod
    def none(count: int) -> "Described":
        """Targets of which nothing is known."""
        return Described(
            np.zeros(0, np.uint8), np.zeros(count + 1, np.int64), np.zeros((count, 0), np.float32)
        )

    @staticmethod
    def of(names: Sequence[str], proteins: Proteins) -> "Described":
        """Targets by name; those that are not among the proteins have no sequence. Of several
        proteins of one name the first counts."""
        place: dict[str, int] = {}
        for number, name in enumerate(proteins.names):
            place.setdefault(name, number)
        found = [place.get(name) for name in names]
        parts = [
            np.zeros(0, np.uint8) if i is None
            else proteins.tokens[proteins.offsets[i] : proteins.offsets[i + 1]]
            for i in found
        ]  # fmt: skip
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        tokens = np.concatenate([np.zeros(0, np.uint8), *parts])
        return Described(tokens, offsets, np.zeros((len(names), 0), np.float32))


class Likeness:
    """How alike targets are to V trained ones.

    Args:
        trained: those V.
        usable: bool [V]; the others weigh nothing.
    """

    def __init__(self, trained: Described, usable: NDArray[np.bool_]) -> None:
        self._trained, self._usable = trained, usable
        if trained.width:
            middle = trained.features[usable].mean(axis=0, dtype=np.float64) if usable.any() else 0
            self._middle = middle
            self._directions = self._direction(trained.features)
            return
        key, owner = _words(trained)
        self._size = np.bincount(owner, minlength=len(trained))
        order = np.argsort(key[usable[owner]], kind="stable")
        self._key, self._owner = key[usable[owner]][order], owner[usable[owner]][order]

    @property
    def width(self) -> int:
        """Features of each target; 0 if sequences decide."""
        return self._trained.width

    @property
    def trained(self) -> Described:
        """What is known of the trained targets."""
        return self._trained

    def borrowed(self, to: Described, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """What T other targets take: float64 [T, K], weights times counts [V, K]."""
        return np.concatenate([counts[:0], *(w @ counts for _, w in self._blocks(to))])

    def borrowed_within(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same of the trained ones, of which none takes from itself: float64 [V, K].

        748 targets take about 0.6 s, 6,000 about 10 s: with the square of their number.
        """
        found = np.zeros(counts.shape)
        for start, weights in self._blocks(self._trained):
            rows = np.arange(len(weights))
            weights[rows, start + rows] = 0.0
            found[start + rows] = weights @ counts
        return found

    def _blocks(self, to: Described) -> Iterator[tuple[int, NDArray[np.float64]]]:
        for start in range(0, len(to), _BLOCK):
            yield start, self.weights(to.part(start, min(start + _BLOCK, len(to))))

    def weights(self, to: Described) -> NDArray[np.float64]:
        """How much each of T targets takes of each trained one: float64 [T, V], 0 … 1."""
        found = self._by_features(to) if self._trained.width else self._by_words(to)
        found[:, ~self._usable] = 0.0
        return found

    def _by_words(self, to: Described) -> NDArray[np.float64]:
        key, owner = _words(to)
        size = np.bincount(owner, minlength=len(to))
        begin = np.searchsorted(self._key, key, side="left")
        count = np.searchsorted(self._key, key, side="right") - begin
        # For each word of each target all who have it.
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        holder = self._owner[np.repeat(begin, count) + within]
        cell = np.repeat(owner, count) * len(self._size) + holder
        shared = np.bincount(cell, minlength=len(to) * len(self._size))
        shared = shared.reshape(len(to), len(self._size))
        union = size[:, None] + self._size - shared
        jaccard = shared / np.maximum(1, union)
        weight: NDArray[np.float64] = np.minimum(1.0, STEEP * jaccard**2)
        return weight

    def _by_features(self, to: Described) -> NDArray[np.float64]:
        cosine = self._direction(to.features) @ self._directions.T
        weight: NDArray[np.float64] = np.clip(2 * cosine - 1, 0.0, 1.0) ** 2
        return weight

    def _direction(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        moved = features.astype(np.float64) - self._middle
        unit: NDArray[np.float64] = moved / np.maximum(
            np.linalg.norm(moved, axis=1, keepdims=True), 1e-30
        )
        return unit


def _words(described: Described) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Distinct words, and whose they are, ascending."""
    found = kmers(described.tokens, described.offsets, WORD)
    # A word has 20 bits.
    both = np.sort((found.owner.astype(np.uint64) << np.uint64(20)) | found.key)
    both = both[np.diff(both, prepend=~both[:1]) != 0]  # np.unique takes ten times as long
    return both & np.uint64((1 << 20) - 1), (both >> np.uint64(20)).astype(np.int64)


def read_features(path: Path, names: Sequence[str], width: int = 0) -> NDArray[np.float32]:
    """Features of these targets from a safetensors file, float32 [len(names), F].

    The file holds a tensor float32 [F] for each target, named by its accession. Others are ignored.

    Args:
        width: F as it must be; 0 if any will do.

    Raises:
        BadInput: no such file, a target is missing, a tensor has another kind or width or holds a
            number that is not finite.
    """
    data = files.read(path, "table of target features")
    try:
        table: dict[str, NDArray[Any]] = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is no safetensors file of numbers ({error})") from error
    missing = [name for name in names if name not in table]
    if missing:
        more = f" and of {len(missing) - 1} more targets" if len(missing) > 1 else ""
        raise BadInput(
            f"{path} has no features of {missing[0]}{more}; add a tensor of that name for each"
        )
    rows = [table[name] for name in names]
    for name, row in zip(names, rows, strict=True):
        if row.dtype != np.float32 or row.ndim != 1:
            raise BadInput(f"{path}: {name} is {row.dtype} {row.shape}, but must be float32 [F]")
        width = width or len(row)
        if len(row) != width:
            raise BadInput(
                f"{path}: {name} has {len(row)} features, but {width} are needed, as many as every "
                "other target of the data has"
            )
        if not np.isfinite(row).all():
            raise BadInput(f"{path}: {name} has a feature that is not a finite number")
    if not 0 < width <= MOST_FEATURES:
        raise BadInput(f"{path}: targets have {width} features, but 1 to {MOST_FEATURES} will do")
    return np.stack(rows)
