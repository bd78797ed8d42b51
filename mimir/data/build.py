"""Builds the data set: known pairs, and background windows of human and viral proteins."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from mimir.atomic_file import OutFile
from mimir.data import GUIDE_ROWS, doubts, draw, files, sidecar, target_sequences
from mimir.data.alphabet import BYTE_OF_ID, N_LETTERS, encode
from mimir.data.columns import HEADER
from mimir.data.groups import protein_clusters, renumbered
from mimir.data.keys import NO_KEYS, Keys, window_keys
from mimir.data.pairs import read_pairs
from mimir.data.progress import Progress
from mimir.data.proteins import NO_PROTEINS, Proteins, read_fasta, together
from mimir.data.windows import Windows, draw_windows, length_quota
from mimir.errors import BadInput

LEAST_ROWS = 3
"""A pair, and background from two kinds of proteins."""
MOST_ROWS = 100_000_000
"""Of a data set: places in it are 32-bit numbers, and a row has up to 20 of them."""


@dataclass(frozen=True)
class BuildInfo:
    """What a build wrote. `sequences`: targets that are among the proteins. `largest_cluster` is a
    part of all residues, 0..1. `notes`: what of the inputs is doubtful."""

    path: str
    rows: int
    human: int
    viral: int
    pairs: int
    peptides: int
    targets: int
    sequences: int
    pairs_repeated: int
    pairs_excluded: int
    proteins: int
    clusters: int
    largest_cluster: float
    csv_sha256: str
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return asdict(self)


def build(
    human: Path | None,
    viral: Path | None,
    pairs: Path,
    out: Path | str,
    rows: int = GUIDE_ROWS,
    seed: int = 0,
    exclude_sources: Sequence[str] = (),
    allow_dna: bool = False,
    progress: TextIO | None = None,
) -> BuildInfo:
    """Write the CSV `out`, its sidecar of groups and the sequences of its targets, as FASTA; the
    same inputs give the same bytes.

    `-` is standard output, which has neither sidecar nor sequences.

    All distinct pairs (label 1) and so many background windows (label 0, no target) that there
    are `rows` rows: half from human and half from viral proteins (an odd one human), or all from
    the one that is given, with the length distribution of the pairs, distinct, and none equal to a
    peptide of a pair. `human` and `viral` are FASTA, plain or gzip, of any organisms: the names say
    where the halves come from; `pairs` is a CSV (see `read_pairs`).

    Letters that look like DNA or RNA are refused without `allow_dna`.

    10.5 million residues and a million rows take about 9 s and 0.6 GB. Raises BadInput.
    """
    if not LEAST_ROWS <= rows <= MOST_ROWS:
        raise BadInput(f"--rows is {rows}, but must be from {LEAST_ROWS} to {MOST_ROWS:,}")
    draw.check_seed(seed)
    given = [(option, path) for option, path in (("--human", human), ("--viral", viral)) if path]
    if not given:
        raise BadInput("no proteins to draw background from: give --human, --viral, or both")
    inputs = [*given, ("--pairs", pairs)]
    target = OutFile(str(out), inputs, beside=[sidecar.ENDING, target_sequences.ENDING])
    with Progress("build", 6, progress) as at:
        at.stage("reading pairs and proteins")
        known = read_pairs(pairs, exclude_sources)
        read = {option: read_fasta(path) for option, path in given}
        first, second = (read.get(option, NO_PROTEINS) for option in ("--human", "--viral"))
        proteins = together(first, second)
        letters = {
            f"the proteins of {option}": _letters(each.tokens) for option, each in read.items()
        }
        peptides = [encode(sequence) for sequence, _ in known.rows]
        peptide_tokens = np.concatenate(peptides)
        letters["peptides of pairs"] = _letters(peptide_tokens)
        for what, counts in letters.items():
            if not allow_dna and (bases := doubts.of_nucleotides(what, counts)):
                raise BadInput(f"{bases} (--allow-dna builds of them as they are)")
        background = rows - len(known.rows)
        if background < 2:
            raise BadInput(
                f"--rows is {rows}, which leaves no room for background beside "
                f"{len(known.rows)} pairs; ask for at least {len(known.rows) + 2}"
            )

        at.stage(f"clustering {len(proteins)} proteins")
        cluster = protein_clusters(proteins.tokens, proteins.offsets)
        weight = np.bincount(cluster, weights=np.diff(proteins.offsets))

        at.stage(f"drawing {background} windows")
        peptide_lengths = np.array([len(peptide) for peptide in peptides], dtype=np.int64)
        peptide_starts = np.concatenate([[0], np.cumsum(peptide_lengths)[:-1]]).astype(np.int64)
        positives = window_keys(peptide_tokens, peptide_starts, peptide_lengths)
        n_viral = background // 2 if human and viral else background * bool(viral)
        taken = [(positives, peptide_lengths)]
        of_human = _draw(first, peptide_lengths, background - n_viral, seed, draw.HUMAN, taken)
        human_keys = window_keys(first.tokens, of_human.starts, of_human.lengths)
        taken.append((human_keys, of_human.lengths))
        of_viral = _draw(second, peptide_lengths, n_viral, seed, draw.VIRAL, taken)

        at.stage("grouping rows")
        targets = sorted({target for _, target in known.rows})
        starts = np.concatenate([of_human.starts, of_viral.starts + len(first.tokens)])
        owner = np.searchsorted(proteins.offsets, starts, side="right") - 1
        # Pairs have no group here: `split` looks at their targets and letters.
        of_pairs = np.zeros(len(known.rows), dtype=np.int32)
        group = np.concatenate([of_pairs, renumbered(cluster[owner])])

        at.stage("writing the CSV")
        lengths = np.concatenate([of_human.lengths, of_viral.lengths])
        lines = [f"{sequence},1,{target}\n" for sequence, target in known.rows]
        lines += _background_lines(proteins.tokens, starts, lengths)
        order = draw.Draws(seed, draw.ROW_ORDER).order(rows)
        csv = (HEADER + "".join([lines[i] for i in order.tolist()])).encode("ascii")
        digest = files.sha256(csv)
        target.write(csv)

        notes = [
            note for what, counts in letters.items() for note in doubts.of_letters(what, counts)
        ]
        notes += doubts.of_targets(
            np.unique([target for _, target in known.rows], return_counts=True)[1]
        )

        at.stage("writing the groups and the targets")
        sequences = target_sequences.fasta(targets, proteins)
        if not target.to_stdout:
            sidecar.write(target.path, digest, group[order])
            target_sequences.leave(target.path, sequences)
    return BuildInfo(
        path=str(out),
        rows=rows,
        human=background - n_viral,
        viral=n_viral,
        pairs=len(known.rows),
        peptides=int(positives.is_first().sum()),
        targets=len(targets),
        sequences=sequences.count(">"),
        pairs_repeated=known.repeated,
        pairs_excluded=known.excluded,
        proteins=len(proteins),
        clusters=int((weight > 0).sum()),
        largest_cluster=round(float(weight.max() / weight.sum()), 4),
        csv_sha256=digest,
        notes=tuple(notes),
    )


def _letters(tokens: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.bincount(tokens, minlength=N_LETTERS).astype(np.int64)


def _draw(
    proteins: Proteins,
    like: NDArray[np.int64],
    count: int,
    seed: int,
    purpose: int,
    taken: list[tuple[Keys, NDArray[np.int64]]],
) -> Windows:
    def of_length(length: int) -> Keys:
        keys = NO_KEYS
        for known, lengths in taken:
            keys = keys.with_more(known.take(lengths == length))
        return keys

    return draw_windows(
        proteins,
        length_quota(like, count),
        of_length,
        lambda length: draw.Draws(seed, purpose + length),
    )


def _background_lines(
    tokens: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> list[str]:
    text = BYTE_OF_ID[tokens].tobytes().decode("ascii")
    pairs = zip(starts.tolist(), lengths.tolist(), strict=True)
    return [f"{text[start : start + length]},0,\n" for start, length in pairs]
