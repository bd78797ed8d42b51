"""Sequences of targets, as FASTA: the file that a build leaves beside its CSV, or anybody's."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mimir import atomic_file
from mimir.data import files
from mimir.data.alphabet import BYTE_OF_ID, LETTERS, encode
from mimir.data.likeness import WORD
from mimir.data.proteins import Proteins, read_fasta
from mimir.errors import BadInput

ENDING = ".targets.fasta"
"""Of the file's name, after the CSV's."""
_NUCLEOTIDES = frozenset("ACGTUN")
_DNA_LENGTH = 12
"""Letters from which on a sequence of nucleotides only is no protein."""
_LINE = 60
MOST_LETTERS = 100_000
"""Of a target; the longest known protein, titin, has 35,000."""


def path_of(csv_path: Path) -> Path:
    """Where the sequences of a CSV's targets lie."""
    return atomic_file.beside_of(csv_path, ENDING)


def fasta(names: Iterable[str], proteins: Proteins) -> str:
    """FASTA of those proteins whose accession is one of the names, in the names' order."""
    place: dict[str, int] = {}
    for number, name in enumerate(proteins.names):
        place.setdefault(accession(name), number)
    lines = []
    for name in names:
        if name in place:
            i = place[name]
            own = proteins.tokens[proteins.offsets[i] : proteins.offsets[i + 1]]
            text = BYTE_OF_ID[own].tobytes().decode("ascii")
            lines.append(f">{name}\n")
            lines += [f"{text[k : k + _LINE]}\n" for k in range(0, len(text), _LINE)]
    return "".join(lines)


def leave(csv_path: Path, text: str) -> None:
    """Write them beside a CSV. Nothing is left there of a build before if there are none."""
    if text:
        files.write(path_of(csv_path), text.encode("ascii"))
    else:
        path_of(csv_path).unlink(missing_ok=True)


def read(path: Path) -> Proteins:
    """The proteins of a FASTA file, named by accession.

    Of a header such as `sp|P04637|P53_HUMAN` the accession is the part in the middle.

    Raises BadInput as `read_fasta`, and for a sequence that is no protein's.
    """
    found = read_fasta(path)
    for name, start, stop in zip(found.names, found.offsets, found.offsets[1:], strict=False):
        letters = BYTE_OF_ID[found.tokens[start:stop]].tobytes().decode("ascii")
        _check(letters, f"{path}: target {name}")
    return Proteins(tuple(accession(name) for name in found.names), found.tokens, found.offsets)


def single(sequence: str) -> Proteins:
    """One protein, of letters as typed; lower case is raised. Raises BadInput as `read`."""
    letters = "".join(sequence.split()).upper()
    try:
        tokens = encode(letters)
    except BadInput:
        wrong = next(i for i, letter in enumerate(letters) if letter not in LETTERS)
        raise BadInput(
            f"the target sequence has {letters[wrong]!r} at position {wrong + 1}, which is not one "
            f"of {LETTERS}; give a protein in one-letter code"
        ) from None
    _check(letters, "the target sequence")
    return Proteins(("",), tokens, np.array([0, len(tokens)], dtype=np.int64))


def accession(name: str) -> str:
    """The accession in the first word of a FASTA header."""
    parts = name.split("|")
    return parts[1] if len(parts) == 3 and parts[0] in ("sp", "tr") else name


def _check(letters: str, what: str) -> None:
    if not WORD <= len(letters) <= MOST_LETTERS:
        raise BadInput(
            f"{what} has {len(letters)} letters, but a protein to compare has {WORD} to "
            f"{MOST_LETTERS:,}"
        )
    if len(letters) >= _DNA_LENGTH and _NUCLEOTIDES.issuperset(letters):
        raise BadInput(
            f"{what} is a nucleotide sequence ({letters[:_DNA_LENGTH]}...); give the protein that "
            "it encodes"
        )
