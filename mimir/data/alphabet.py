"""The letters of a peptide and their token ids."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimir.errors import BadInput

STANDARD = "ACDEFGHIKLMNPQRSTVWY"
# B, Z, X are ambiguity codes, U and O are selenocysteine and pyrrolysine (IUPAC-IUB 1983).
# They stay in the data as the proteins have them; J (I or L) does not occur in UniProt.
EXTRA = "BOUXZ"
LETTERS = STANDARD + EXTRA

N_STANDARD = len(STANDARD)
N_LETTERS = len(LETTERS)
MASK = N_LETTERS
# Inputs of a model take the mask too; its outputs are letters only.
N_TOKENS = N_LETTERS + 1

MIN_LENGTH = 4
MAX_LENGTH = 20

# Id of a byte that is no letter.
NO_LETTER = 255

_BYTES = np.frombuffer(LETTERS.encode("ascii"), dtype=np.uint8)
ID_OF_BYTE: NDArray[np.uint8] = np.full(256, NO_LETTER, dtype=np.uint8)
ID_OF_BYTE[_BYTES] = np.arange(N_LETTERS, dtype=np.uint8)
ID_OF_BYTE.flags.writeable = False
# The mask is written "_", so that half-masked peptides can be shown.
BYTE_OF_ID: NDArray[np.uint8] = np.append(_BYTES, np.uint8(ord("_")))
BYTE_OF_ID.flags.writeable = False


def encode(sequence: str | bytes) -> NDArray[np.uint8]:
    """Token ids, uint8 [L], of a string of letters of any length.

    Raises BadInput on a byte that is not one of `LETTERS` (lower case included).
    """
    raw = sequence.encode("utf-8") if isinstance(sequence, str) else sequence
    ids = ID_OF_BYTE[np.frombuffer(raw, dtype=np.uint8)]
    wrong = np.flatnonzero(ids == NO_LETTER)
    if wrong.size:
        at = int(wrong[0])
        shown = raw[at : at + 1].decode("latin-1")
        raise BadInput(
            f"letter {shown!r} at position {at + 1} is not one of {LETTERS}; "
            "write peptides in upper-case one-letter code"
        )
    return ids


def decode(tokens: Sequence[int] | NDArray[np.integer]) -> str:
    """The string of token ids [L]; the mask is shown as `_`. Raises BadInput on an unknown id."""
    ids = np.asarray(tokens)
    if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= N_TOKENS):
        raise BadInput(f"token ids lie between 0 and {N_TOKENS - 1}, not {ids.min()}..{ids.max()}")
    return BYTE_OF_ID[ids.astype(np.intp)].tobytes().decode("ascii")
