from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mimir.data.alphabet import encode
from mimir.data.likeness import Described, Likeness, read_features
from mimir.data.proteins import Proteins
from mimir.errors import BadInput
from tests.data.conftest import protein


def described(*texts: str, features: list[list[float]] | None = None) -> Described:
    """Targets with these sequences, "" for none."""
    offsets = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    table = np.zeros((len(texts), 0)) if features is None else np.array(features)
    return Described(encode("".join(texts)), offsets, table.astype(np.float32))


def slow(one: str, other: str) -> float:
    """The weight of two sequences, from its definition."""
    sets = [{text[i : i + 4] for i in range(len(text) - 3)} for text in (one, other)]
    union = len(sets[0] | sets[1])
    return min(1.0, 1000 * (len(sets[0] & sets[1]) / union) ** 2) if union else 0.0


def test_weights_are_those_of_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = protein(1, 400)
    texts = [
        whole,
        whole[:15] + protein(2, 385),
        protein(3, 400),
        "",
        "ACD",
        whole[10:200],
        "AAAAAAA",
    ]
    new = [whole[:150], protein(4, 90), "", "AAAAA"]
    usable = np.array([True, True, False, True, True, True, True])
    known = described(*texts)
    likeness = Likeness(known, usable)
    own, others = likeness.weights(known), likeness.weights(described(*new))
    for i, one in enumerate(texts):
        for j, other in enumerate(texts):
            expected = slow(one, other) if usable[j] else 0.0
            assert own[i, j] == pytest.approx(expected), (i, j)
    for i, one in enumerate(new):
        expected_row = [slow(one, other) * usable[j] for j, other in enumerate(texts)]
        assert others[i] == pytest.approx(expected_row)
    assert 0 < own[0, 1] < 1, "a weight that is neither of the ends is seen"
    # In blocks, and of itself none takes.
    counts = np.arange(14.0).reshape(7, 2)
    monkeypatch.setattr("mimir.data.likeness._BLOCK", 3)
    assert likeness.borrowed(known, counts) == pytest.approx(own @ counts)
    np.fill_diagonal(own, 0.0)
    assert likeness.borrowed_within(counts) == pytest.approx(own @ counts)
    assert known.known.tolist() == [True, True, True, False, False, True, True]


def test_features_go_before_sequences() -> None:
    # The trained ones' mean is (0, 0); the last is not usable and has no say in it.
    table = [[1.0, 0.0], [-1.0, 0.0], [1.0, 1.0], [-1.0, -1.0], [5.0, 0.0]]
    known = described(*["AAAAA"] * 5, features=table)
    usable = np.array([True] * 4 + [False])
    found = Likeness(known, usable).weights(known)
    near = (2 * np.sqrt(0.5) - 1) ** 2
    assert found[0] == pytest.approx([1, 0, near, 0, 0])
    assert found[4] == pytest.approx([1, 0, near, 0, 0])


def test_targets_are_found_by_name_and_the_first_counts() -> None:
    proteins = Proteins(("B", "A", "B"), encode("AAAACCCCDDDD"), np.array([0, 4, 8, 12]))
    found = Described.of(["A", "B", "C"], proteins)
    assert [found.sequence(i) for i in range(3)] == ["CCCC", "AAAA", ""]


@pytest.mark.parametrize(
    ("table", "width", "said"),
    [
        ({"A": [1.0, 2.0]}, 0, r"has no features of B; add a tensor"),
        ({"A": [1.0, 2.0], "B": [1.0]}, 0, r"B has 1 features, but 2 are needed"),
        ({"A": [1.0, 2.0], "B": [1.0, 2.0]}, 3, r"A has 2 features, but 3 are needed"),
        ({"A": [1.0, 2.0], "B": [1.0, float("nan")]}, 0, r"B has a feature that is not a finite"),
        ({"A": [1.0, 2.0], "B": [[1.0, 2.0]]}, 0, r"B is float32 \(1, 2\), but must be float32"),
        (None, 0, r"is no safetensors file"),
    ],
)  # fmt: skip
def test_a_bad_table_gets_one_sentence(
    tmp_path: Path, table: dict[str, list[float]] | None, width: int, said: str
) -> None:
    path = tmp_path / "f.safetensors"
    if table is None:
        path.write_bytes(b"no table")
    else:
        save_file({k: np.array(v, dtype=np.float32) for k, v in table.items()}, path)
    with pytest.raises(BadInput, match=said) as caught:
        read_features(path, ["A", "B"], width)
    assert "\n" not in str(caught.value)


def test_a_good_table_is_read_in_the_order_of_the_names(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    save_file({n: np.array([i, 7], dtype=np.float32) for i, n in enumerate("BAC")}, path)
    assert read_features(path, ["A", "B"], 2).tolist() == [[1, 7], [0, 7]]
