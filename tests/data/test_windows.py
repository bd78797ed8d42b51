import numpy as np
import pytest

from mimir.data.alphabet import decode, encode
from mimir.data.draw import Draws
from mimir.data.keys import NO_KEYS, Keys, window_keys
from mimir.data.proteins import Proteins
from mimir.data.windows import draw_windows, length_quota
from mimir.errors import BadInput


def _proteins(*sequences: str) -> Proteins:
    offsets = np.concatenate([[0], np.cumsum([len(s) for s in sequences])]).astype(np.int64)
    return Proteins(
        tuple(str(i) for i in range(len(sequences))), encode("".join(sequences)), offsets
    )


def _drawn(proteins: Proteins, quota: dict[int, int], taken: Keys = NO_KEYS) -> list[str]:
    windows = draw_windows(proteins, quota, lambda _: taken, lambda length: Draws(5, length))
    return [
        decode(proteins.tokens[start : start + length])
        for start, length in zip(windows.starts, windows.lengths, strict=True)
    ]


def test_quota_is_exact_and_proportional() -> None:
    assert length_quota(np.array([4, 4, 4, 9]), 8) == {4: 6, 9: 2}
    assert length_quota(np.array([4, 5, 6]), 4) == {4: 2, 5: 1, 6: 1}


def test_finds_every_window_there_is_but_the_taken() -> None:
    proteins = _proteins("ACDEFG", "ACDE", "WYW", "HIKLM")
    taken = window_keys(encode("CDEF"), np.array([0]), np.array([4]))
    assert sorted(_drawn(proteins, {4: 4}, taken)) == ["ACDE", "DEFG", "HIKL", "IKLM"]


def test_too_few_windows() -> None:
    with pytest.raises(BadInput, match=r"have 4 distinct windows of length 4 .* but 6 are needed"):
        _drawn(_proteins("ACDEFGH", "AAA"), {4: 6})


def test_starts_are_uniform_over_residues() -> None:
    # A protein of three quarters of the residues gives about three quarters of the windows.
    letters = "ACDEFGHIKLMNPQRSTVWY"
    long = "".join(letters[i] for i in Draws(1, 1).below(20, 30_000).tolist())
    short = "".join(letters[i] for i in Draws(1, 2).below(20, 10_000).tolist())
    proteins = _proteins(long, short)
    windows = draw_windows(proteins, {12: 2000}, lambda _: NO_KEYS, lambda n: Draws(9, n))
    assert abs((windows.starts < 30_000).mean() - 0.75) < 0.04
