import numpy as np

from mimir.data.alphabet import encode
from mimir.data.keys import kmers, window_keys


def _flat(*sequences: str) -> tuple[np.ndarray, np.ndarray]:
    lengths = [len(sequence) for sequence in sequences]
    return encode("".join(sequences)), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def test_equal_keys_only_for_equal_peptides() -> None:
    words = ["AAAA", "AAAAA", "ACDEFGHIKLMN", "ACDEFGHIKLMNA", "ACDEFGHIKLMNPQRSTVWY", "AAAA"]
    words += ["ACDEFGHIKLMNPQRSTVWA", "CAAA", "ACDEFGHIKLMNA"]
    tokens, offsets = _flat(*words)
    groups = window_keys(tokens, offsets[:-1], np.diff(offsets)).groups()
    assert groups.tolist() == [words.index(word) for word in words]


def test_kmers_do_not_cross_sequences_and_count_letters() -> None:
    tokens, offsets = _flat("ACAC", "AC", "CACD")
    found = kmers(tokens, offsets, 3)
    assert found.owner.tolist() == [0, 0, 2, 2]
    assert found.distinct.tolist() == [2, 2, 2, 3]
    assert found.key[1] == found.key[2]
    assert len(set(found.key.tolist())) == 3


def test_letters_of_high_id_count_as_well() -> None:
    tokens, offsets = _flat("AVWYZ")
    assert kmers(tokens, offsets, 5).distinct.tolist() == [5]


def test_kmers_of_sequences_that_are_all_too_short() -> None:
    tokens, offsets = _flat("ACD", "EF")
    assert len(kmers(tokens, offsets, 12).key) == 0
