import numpy as np

from mimir.data.alphabet import encode
from mimir.data.draw import Draws
from mimir.data.groups import components, protein_clusters, window_groups


def _flat(*sequences: str) -> tuple[np.ndarray, np.ndarray]:
    lengths = [len(sequence) for sequence in sequences]
    return encode("".join(sequences)), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def test_components_equal_a_plain_search() -> None:
    nodes, edges = 300, 220
    left, right = Draws(1, 1).below(nodes, edges), Draws(1, 2).below(nodes, edges)
    expected = list(range(nodes))
    for _ in range(nodes):
        for a, b in zip(left.tolist(), right.tolist(), strict=True):
            expected[a] = expected[b] = min(expected[a], expected[b])
    assert components(nodes, left, right).tolist() == expected


def test_components_of_a_long_chain() -> None:
    order = Draws(2, 1).order(5000)
    assert not components(5000, order[:-1], order[1:]).any()


def test_proteins_cluster_by_a_shared_12mer_but_not_by_low_complexity() -> None:
    word = "ACDEFGHIKLMN"
    tokens, offsets = _flat(
        "W" * 5 + word, word + "Y" * 5, word[:11] + "WW", "Q" * 20, "M" + "Q" * 15
    )
    assert protein_clusters(tokens, offsets).tolist() == [0, 0, 2, 3, 4]


def test_windows_group_by_a_shared_7mer() -> None:
    tokens, offsets = _flat("ACDEFGH", "WACDEFGHW", "ACDEFG", "GGACDEFG", "WWWWACDEFGH")
    assert window_groups(tokens, offsets).tolist() == [0, 0, 2, 3, 0]
