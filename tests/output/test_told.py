"""Targets as options name them: by name, by sequence, by features, one or many."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from mimir.data import target_sequences
from mimir.data.alphabet import decode as letters
from mimir.data.likeness import Described
from mimir.data.pack import VALIDATION, Peptides
from mimir.errors import BadInput
from mimir.output import vocabulary
from mimir.output.condition import Condition
from mimir.output.model_file import Opened
from mimir.output.told import Options, conditions
from tests import toys

ALIKE = letters(toys.described().tokens[:26])
"""The sequence of P00000, which P00001 resembles."""
APART = "YYYYYYYYHHHHHHHH"


def opened(data: Peptides | None = None, composition: str = "on") -> Opened:
    data = data or toys.peptides()
    engine = toys.engine(data=data, composition=composition)
    table = data.composition if composition == "on" else None
    return Opened(engine.model, engine.config, vocabulary.of(data), table, data.digest, "toy")


def unseen() -> Peptides:
    """Without training pairs of the targets 0, which is like 1, and 2, which is like none."""
    data = toys.peptides()
    return replace(data, split=np.where(np.isin(data.targets, (0, 2)), VALIDATION, data.split))


def featured() -> Peptides:
    table = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    data = toys.peptides()
    return replace(data, described=replace(Described.none(3), features=table))


def one(model: Opened, *, label: str = "", **options: str) -> Condition:
    ((_, condition),) = conditions(model, label, Options(**options))
    return condition


def test_a_trained_target_is_told_by_embedding_and_composition() -> None:
    data = toys.peptides()
    found = one(opened(data), target="P00002")
    assert (found.target, found.name) == (2, "P00002")
    assert found.bias == pytest.approx(data.composition.bias()[2])
    assert found.untold == Condition()
    assert one(opened(data, "off"), target="P00002") == Condition(target=2, name="P00002")
    assert one(opened(data)) == Condition()


def test_an_unseen_target_is_told_by_what_is_similar(capsys: pytest.CaptureFixture[str]) -> None:
    data = unseen()
    model = opened(data)
    found = one(model, target="P00000")
    assert found.target is None
    assert found.bias == pytest.approx(data.composition.bias()[0])
    assert max(map(abs, found.bias)) > 0.01
    assert "it is told how similar targets bind" in capsys.readouterr().err
    # The same protein given as letters: it does not matter whether it is in the data.
    assert one(model, sequence=ALIKE.lower()).bias == pytest.approx(found.bias)
    for options, name in (({"target": "P00002"}, "P00002"), ({"sequence": APART}, "sequence")):
        found = one(model, **options)
        assert found == Condition(name=name), "nothing is told, but the name is kept"
        assert not found.told
        assert "to it this is the same as no target" in capsys.readouterr().err


def test_many_targets_of_a_file(tmp_path: Path) -> None:
    model, data = opened(), toys.peptides()
    path = tmp_path / "t.fasta"
    path.write_text(f">sp|P00001|X_HUMAN\nWWWWWWWW\n>new x\n{ALIKE}\n>other\n{APART}\n")
    found = conditions(model, "", Options(targets=str(path)))
    assert [name for name, _ in found] == ["P00001", "new", "other"]
    assert found[0][1] == one(model, target="P00001"), "known by its name"
    assert found[1][1].target is None
    new = Described.of([""], target_sequences.single(ALIKE))
    assert found[1][1].bias == pytest.approx(data.composition.of_new(new)[0])
    assert found[2][1] == Condition(name="other")
    path.write_text("target\nP00002\nP00001\n")
    listed = conditions(model, "", Options(targets=str(path)))
    assert listed == [(n, one(model, target=n)) for n in ("P00002", "P00001")]


def test_features_of_a_new_target(tmp_path: Path) -> None:
    model = opened(featured())
    path = tmp_path / "f.safetensors"
    save_file({"new": np.array([0, 1, 0], np.float32), "short": np.ones(2, np.float32),
               "odd": np.array([0, np.nan, 0], np.float32)}, path)  # fmt: skip
    found = one(model, target="new", features=str(path))
    assert (found.target, found.name) == (None, "new")
    assert max(map(abs, found.bias)) > 0.01
    for name, said in (
        ("short", "short has 2 features, but 3 are needed"),
        ("odd", "odd has a feature that is not a finite number"),
        ("missing", "has no features of missing"),
    ):
        with pytest.raises(BadInput, match=said):
            one(model, target=name, features=str(path))
    with pytest.raises(BadInput, match=r"compares targets by 3 features each, not by sequence"):
        one(model, sequence=ALIKE)
    with pytest.raises(BadInput, match="this model compares targets by sequence"):
        one(opened(), target="new", features=str(path))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "P1", "sequence": "MKVL"}, "either --target or --target-sequence"),
        ({"sequence": "MKVL", "targets": "f"}, "either --target-sequence or --targets"),
        ({"features": "f"}, "name targets beside it"),
        ({"sequence": "MKVL", "features": "f"}, "name targets beside it"),
        ({"sequence": "ATGCATGCATGCATGC"}, "is a nucleotide sequence"),
        ({"sequence": "MKVLO1"}, "'1' at position 6"),
        ({"sequence": "MKVLAA", "label": "background"}, "only ever trained with interacting"),
        ({"target": "P00009"}, "another protein can be given by --target-sequence"),
    ],
)
def test_bad_options_get_one_sentence(options: dict[str, Any], said: str) -> None:
    model = opened()
    with pytest.raises(BadInput, match=said) as caught:
        one(model, **options)
    assert "\n" not in str(caught.value)


def test_a_model_without_compositions_cannot_be_told_a_sequence() -> None:
    with pytest.raises(BadInput, match="trained without the composition of targets"):
        one(opened(composition="off"), sequence=ALIKE)
