"""Proves that in a packed file no held-out row is linked to training, nor its halves to each other.

Packing decides this with sorted integers and seeds (`similar`, `groups`). Here the same definitions
are checked again by other means: words are looked up as text, and peptides are laid beside each
other letter by letter, each shift of every two. It is slower, and shares no code with the first.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from mimir.data import files, sidecar
from mimir.data.alphabet import BYTE_OF_ID, MAX_LENGTH, MIN_LENGTH
from mimir.data.groups import WINDOW_K
from mimir.data.peptides import Peptides, parse
from mimir.data.progress import Progress
from mimir.data.similar import IDENTITY, MOST_ALIGNED, WORD
from mimir.data.split import HELD_OUT, KNOWN, SELECTION, SELECTION_KNOWN, TRAIN, VALIDATION
from mimir.data.table import parse as parse_csv
from mimir.errors import BadInput

LINKS_SHOWN = 20
_REPORTED, _SELECTION = (VALIDATION, KNOWN), (SELECTION, SELECTION_KNOWN)
_PARTS = {
    TRAIN: "training",
    **dict.fromkeys(_REPORTED, "held out, reported"),
    **dict.fromkeys(_SELECTION, "held out, selection"),
}
_BLOCK = 1 << 16
"""Rows that are made text at once."""


@dataclass(frozen=True)
class Links:
    """What was compared, and what was found: `shown` are the first 20 links, as sentences.

    selection_pairs, reported_pairs: the halves of `held_pairs`. pairs: training pairs that are
    linked to a held-out one. halves: selection pairs that are linked to a reported one. windows:
    training windows that share a word with a held-out pair. targets: those of unseen pairs that are
    trained, those of known pairs that are not, and those in both halves. groups: in both parts of
    the background, by `grouped_by`. unchecked: what could not be compared.
    """

    path: str
    digest: str
    held_pairs: int
    selection_pairs: int
    reported_pairs: int
    training_pairs: int
    held_background: int
    training_background: int
    pairs: int
    halves: int
    windows: int
    targets: int
    groups: int
    grouped_by: str
    unchecked: tuple[str, ...]
    shown: tuple[str, ...]

    @property
    def count(self) -> int:
        """Links in all."""
        return self.pairs + self.halves + self.windows + self.targets + self.groups

    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object, with `ok`: no link was found."""
        return {"ok": self.count == 0, **asdict(self)}


def verify_links(path: Path, csv: Path | None = None, progress: TextIO | None = None) -> Links:
    """Search a packed file for links between what is held out and what is trained, and between
    the held-out pairs that select and those that are reported.

    csv: what it was packed from. Its sidecar says which background rows are of related proteins,
    which the packed file does not. A million rows and 3,600 pairs take half a minute.

    Raises BadInput and Corrupt as `peptides.load`, and BadInput if it was packed from another CSV.
    """
    with Progress("verify", 5, progress) as at:
        at.stage("reading")
        data = files.read(path, "packed data set")
        peptides, grouping = parse(data, path), str(files.record_of(data, str(path))["grouping"])
        group_names, grouped_by = _groups(peptides, grouping, csv)
        unchecked = [] if group_names else [f"{grouped_by}: give --csv, the CSV that was packed"]
        trained, pair = peptides.split == TRAIN, peptides.labels == 1
        held = np.isin(peptides.split, HELD_OUT)
        held_pairs, pairs = np.flatnonzero(held & pair), np.flatnonzero(trained & pair)
        held_windows, windows = np.flatnonzero(held & ~pair), np.flatnonzero(trained & ~pair)

        at.stage(f"comparing {len(held_pairs):,} held-out and {len(pairs):,} training pairs")
        if pair.sum() > MOST_ALIGNED:
            unchecked.append(
                f"pairs letter by letter: there are more than {MOST_ALIGNED:,}, which packing does "
                "not compare either"
            )
        similar = _similar(peptides, held_pairs, pairs)
        selection = np.flatnonzero(np.isin(peptides.split, _SELECTION) & pair)
        reported = np.flatnonzero(np.isin(peptides.split, _REPORTED) & pair)
        at.stage(f"comparing {len(selection):,} selection and {len(reported):,} reported pairs")
        halves = _similar(peptides, reported, selection)
        at.stage(f"searching {len(windows):,} training windows")
        overlapping = dict(_shared(peptides, held_pairs, windows))
        at.stage("comparing targets and groups")
        targets = list(_targets(peptides, held_pairs, pairs, selection, reported))
        both: set[str] = set()
        if group_names:
            theirs = set(group_names(held_windows))
            both = {name for name in group_names(windows) if name in theirs}
    groups = [f"{name}: background of both parts" for name in sorted(both)]
    return Links(
        path=str(path), digest=peptides.digest,
        held_pairs=len(held_pairs), selection_pairs=len(selection), reported_pairs=len(reported),
        training_pairs=len(pairs),
        held_background=len(held_windows), training_background=len(windows),
        pairs=len(similar), halves=len(halves), windows=len(overlapping), targets=len(targets),
        groups=len(groups),
        grouped_by=grouped_by, unchecked=tuple(unchecked),
        shown=tuple([*similar.values(), *halves.values(), *overlapping.values(), *targets,
                     *groups][:LINKS_SHOWN]),
    )  # fmt: skip


def _texts(peptides: Peptides, rows: NDArray[np.integer]) -> Iterator[tuple[int, str]]:
    """Each of the rows with its letters."""
    for first in range(0, len(rows), _BLOCK):
        block = rows[first : first + _BLOCK]
        begin, end = peptides.offsets[block].tolist(), peptides.offsets[block + 1].tolist()
        low = begin[0] if begin else 0
        letters = BYTE_OF_ID[peptides.tokens[low : end[-1] if end else 0]].tobytes().decode("ascii")
        for row, a, b in zip(block.tolist(), begin, end, strict=True):
            yield row, letters[a - low : b - low]


def _words(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(len(text) - size + 1)]


def _similar(
    peptides: Peptides, held: NDArray[np.integer], rows: NDArray[np.integer]
) -> dict[int, str]:
    """Pairs that are near copies of a held-out one, by row; by letters if there are few enough."""
    found: dict[int, str] = {}
    if (peptides.labels == 1).sum() <= MOST_ALIGNED:
        found |= dict(_aligned(peptides, held, rows))
    found |= dict(_within(peptides, held, rows))
    found |= dict(_shared(peptides, held, rows))
    return found


def _shared(
    peptides: Peptides, held: NDArray[np.integer], rows: NDArray[np.integer]
) -> Iterator[tuple[int, str]]:
    """Rows that have 6 letters in a row in common with a held-out one."""
    of = {word: (row, text) for row, text in _texts(peptides, held) for word in _words(text, WORD)}
    for row, text in _texts(peptides, rows):
        common = [word for word in _words(text, WORD) if word in of]
        if common:
            yield _link(peptides, row, text, *of[common[0]], f"share {common[0]}")


def _within(
    peptides: Peptides, held: NDArray[np.integer], rows: NDArray[np.integer]
) -> Iterator[tuple[int, str]]:
    """Rows that lie within a held-out one, or the other way round, the shorter of less than 6."""
    ours, theirs = dict(_texts(peptides, rows)), dict(_texts(peptides, held))
    for short, long, ours_is_short in ((ours, theirs, True), (theirs, ours, False)):
        of = {text: row for row, text in short.items() if len(text) < WORD}
        for row, text in long.items():
            for size in range(MIN_LENGTH, WORD):
                for word in _words(text, size):
                    if word in of:
                        pair = (of[word], word), (row, text)
                        one, other = pair if ours_is_short else pair[::-1]
                        yield _link(peptides, *one, *other, "lie one within the other")


def _aligned(
    peptides: Peptides, held: NDArray[np.integer], rows: NDArray[np.integer]
) -> Iterator[tuple[int, str]]:
    """Rows of which 6 letters or more, and 60 % of the overlap, equal a held-out one's."""
    ours = list(_texts(peptides, rows))
    lengths = np.array([len(text) for _, text in ours])
    # Beyond a row's end stands what no letter is.
    grid = np.array([list(text.ljust(MAX_LENGTH)) for _, text in ours], dtype="U1")
    grid = grid.reshape(-1, MAX_LENGTH).view(np.uint32)
    for row, text in _texts(peptides, held):
        letters = np.array(list(text), dtype="U1").view(np.uint32)
        for shift in range(1 - len(text), MAX_LENGTH):  # our letter `shift` stands at their first
            begin, end = max(0, shift), min(MAX_LENGTH, shift + len(text))
            if end - begin < WORD:
                continue
            equal = (grid[:, begin:end] == letters[begin - shift : end - shift]).sum(axis=1)
            overlap = np.minimum(end, lengths) - begin
            for at in np.flatnonzero((equal >= WORD) & (equal >= IDENTITY * overlap)).tolist():
                yield _link(
                    peptides, *ours[at], row, text, f"are equal in {equal[at]} of {overlap[at]}"
                )


def _link(
    peptides: Peptides, row: int, text: str, held_row: int, held_text: str, how: str
) -> tuple[int, str]:
    part, held = (_PARTS[int(peptides.split[each])] for each in (row, held_row))
    return row, f"row {row + 1} ({text}, {part}) and row {held_row + 1} ({held_text}, {held}) {how}"


def _targets(
    peptides: Peptides, held: NDArray[np.integer], pairs: NDArray[np.integer],
    selection: NDArray[np.integer], reported: NDArray[np.integer],
) -> Iterator[str]:  # fmt: skip
    """Unseen targets that are trained, known targets that are not, and targets in both halves."""

    def of(rows: NDArray[np.integer]) -> set[int]:
        return set(peptides.targets[rows].tolist())

    known = np.isin(peptides.split[held], (KNOWN, SELECTION_KNOWN))
    for found, what in (
        (of(held[~known]) & of(pairs), "is held out as unseen, and is trained"),
        (of(held[known]) - of(pairs), "is held out as known, and is not trained"),
        (of(selection) & of(reported), "selects, and is reported"),
    ):
        for target in sorted(found):
            yield f"target {peptides.vocabulary[target]} {what}"


def _groups(
    peptides: Peptides, grouping: str, csv: Path | None
) -> tuple[Callable[[NDArray[np.integer]], Iterator[str]] | None, str]:
    """What names the groups of background rows, None if they cannot be known; and where from."""
    if grouping != "sidecar":

        def words(rows: NDArray[np.integer]) -> Iterator[str]:
            for _, text in _texts(peptides, rows):
                yield from _words(text, WINDOW_K)

        return words, f"words of {WINDOW_K} letters"
    if csv is None:
        return None, "protein clusters"
    content = files.read(csv, "data set CSV")
    if files.sha256(content) != peptides.source:
        raise BadInput(f"the file was packed from another CSV than {csv}; give that one, or none")
    table = parse_csv(content)
    group = None if table is None else sidecar.read(csv, peptides.source, len(table))
    if table is None or group is None:
        raise BadInput(f"there is no {sidecar.path_of(csv)}, by which the file was packed")
    # Pairs may have been left out in packing; the background is whole, and in the same order.
    of_background = group[table.labels == 0]
    place = np.cumsum(peptides.labels == 0) - 1

    def clusters(rows: NDArray[np.integer]) -> Iterator[str]:
        return (f"protein cluster {number}" for number in of_background[place[rows]].tolist())

    return clusters, "protein clusters"
