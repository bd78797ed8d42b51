from mimir.data.alphabet import LETTERS
from mimir.data.pack import TRAIN
from mimir.output.quality import Quality, known_in
from tests import toys


def test_known_in_tells_training_peptides() -> None:
    data = toys.peptides(60)
    known = known_in(data)

    def text(row: int) -> str:
        return "".join(LETTERS[i] for i in data.tokens[data.offsets[row] : data.offsets[row + 1]])

    training = [text(row) for row in data.subset(TRAIN)]
    held = [text(row) for row in data.subset(1)]
    assert known(training) == [True] * len(training)
    assert known(held) == [False] * len(held)
    cut = [s[:-1] for s in training if len(s) > 10]
    assert known([*cut, *training[:3]]) == [False] * len(cut) + [True] * 3
    assert known([]) == []


def test_quality() -> None:
    known = {"ACDE"}
    drawn = ["ACDE", "ACDE", "CCCC", "AXDE", "AC"]
    found = Quality.of(drawn, lambda some: [s in known for s in some])
    assert found == Quality(valid=3 / 5, unique=2 / 3, novel=1 / 2)
    assert Quality.of([], lambda some: []) == Quality(0.0, 0.0, 1.0)
