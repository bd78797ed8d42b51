"""Reads proteins from FASTA, plain or gzip."""

import codecs
import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimir.data import files
from mimir.data.alphabet import ID_OF_BYTE, LETTERS, NO_LETTER
from mimir.errors import BadInput


@dataclass(frozen=True, eq=False)
class Proteins:
    """Names and letters: protein i is tokens[offsets[i] : offsets[i + 1]].

    `tokens` uint8 [R], `offsets` int64 [N + 1].
    """

    names: tuple[str, ...]
    tokens: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)


NO_PROTEINS = Proteins((), np.zeros(0, dtype=np.uint8), np.zeros(1, dtype=np.int64))


def together(first: Proteins, second: Proteins) -> Proteins:
    """The proteins of both, the first's in front."""
    return Proteins(
        first.names + second.names,
        np.concatenate([first.tokens, second.tokens]),
        np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]]),
    )


def read_fasta(path: Path) -> Proteins:
    """Proteins of a FASTA file; gzip is recognised by its first bytes. Lower case is raised.

    Lines end in LF, CR LF or CR; a byte order mark is passed over, and so is a `*` that ends a
    protein, as translations have it.

    Raises BadInput if the file is missing or empty, has text before the first header, a header
    without a sequence, or a letter outside the alphabet (the message names protein and position).
    """
    data = files.read(path, "FASTA file")
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise BadInput(f"{path} is a damaged gzip file ({error}); fetch it again") from error
    data = data.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not data.strip():
        raise BadInput(f"{path} is empty; it should hold proteins in FASTA form")
    if form := files.other_form(data):
        raise BadInput(f"{path} is {form}")
    if not data.lstrip().startswith(b">"):
        raise BadInput(f"{path} does not begin with a FASTA header line, such as '>P04637'")
    names: list[str] = []
    sequences: list[bytes] = []
    for record in data.lstrip()[1:].split(b"\n>"):
        header, _, body = record.partition(b"\n")
        words = header.decode("utf-8", "replace").split()
        names.append(words[0] if words else f"number {len(names) + 1}")
        sequences.append(b"".join(body.split()).removesuffix(b"*").upper())
        if not sequences[-1]:
            raise BadInput(f"{path}: protein {names[-1]} has a header but no sequence")
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    raw = np.frombuffer(b"".join(sequences), dtype=np.uint8)
    tokens = ID_OF_BYTE[raw]
    wrong = np.flatnonzero(tokens == NO_LETTER)
    if wrong.size:
        at = int(wrong[0])
        which = int(np.searchsorted(offsets, at, side="right")) - 1
        raise BadInput(
            f"{path}: protein {names[which]} has {chr(raw[at])!r} at position "
            f"{at - int(offsets[which]) + 1}, which is not one of {LETTERS}"
        )
    return Proteins(tuple(names), tokens, offsets)
