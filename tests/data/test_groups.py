import numpy as np
import pytest

from mimir.data import groups
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
    assert window_groups(tokens, offsets, np.arange(5)).tolist() == [0, 0, 2, 3, 0]
    assert window_groups(tokens, offsets, np.array([1, 3, 4])).tolist() == [0, 1, 0]
    assert window_groups(tokens, offsets, np.array([], dtype=np.int64)).tolist() == []


def test_windows_are_grouped_a_part_at_a_time_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    letters = Draws(2, 2).below(3, 9000).tolist()
    rows = ["".join("ACD"[i] for i in letters[at : at + 4 + at % 11]) for at in range(0, 8900, 13)]
    tokens, offsets = _flat(*rows)
    chosen = np.flatnonzero(np.arange(len(rows)) % 5)
    at_once = window_groups(tokens, offsets, chosen)
    wanted = list(range(len(chosen)))
    words = [{rows[i][j : j + 7] for j in range(len(rows[i]) - 6)} for i in chosen]
    for i, own in enumerate(words):  # a plain search: join every two that share a word
        for j in range(i):
            if own & words[j] and wanted[i] != wanted[j]:
                low, high = sorted((wanted[i], wanted[j]))
                wanted = [low if each == high else each for each in wanted]
    assert at_once.tolist() == wanted
    assert 20 < len(set(wanted)) < len(chosen) - 20
    for name, value in (("_AT_ONCE", 150), ("_EDGES", 3), ("_ROWS", 7)):
        monkeypatch.setattr(groups, name, value)
    assert window_groups(tokens, offsets, chosen).tolist() == wanted
