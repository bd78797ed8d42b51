import numpy as np
import pytest

from mimir.data.alphabet import LETTERS, MASK, N_LETTERS, N_TOKENS, decode, encode
from mimir.errors import BadInput


def test_ids_are_the_documented_ones() -> None:
    assert LETTERS == "ACDEFGHIKLMNPQRSTVWYBOUXZ"
    assert encode(LETTERS).tolist() == list(range(25))
    assert (N_LETTERS, MASK, N_TOKENS) == (25, 25, 26)


def test_decode_reverses_encode_and_shows_the_mask() -> None:
    assert decode(encode("MKUXW")) == "MKUXW"
    assert decode(np.array([0, MASK, 19])) == "A_Y"
    assert decode([]) == ""


@pytest.mark.parametrize("text", ["ACDJ", "acde", "AC E", "ACÉ"])
def test_encode_names_the_first_wrong_letter(text: str) -> None:
    with pytest.raises(BadInput, match="at position"):
        encode(text)


def test_decode_refuses_unknown_ids() -> None:
    with pytest.raises(BadInput, match="between 0 and 25"):
        decode([3, 26])
    with pytest.raises(BadInput, match="between 0 and 25"):
        decode([-1])
