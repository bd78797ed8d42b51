"""The commands sample, score and evaluate on a pulled folder, in this process."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from mimir.errors import BadInput
from mimir.output import commands
from tests import toys
from tests.output.test_export import folder_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    engine = toys.engine()
    engine.advance(11)
    return str(folder_of(engine, tmp_path_factory.mktemp("pulled") / "m"))


@pytest.fixture
def some(tmp_path: Path) -> str:
    path = tmp_path / "peptides.txt"
    path.write_text("ACDEF\nGHIKLM\n")
    return str(path)


def test_scores_as_table_csv_and_json(
    folder: str, some: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted: dict[str, Any] = {"model": folder, "peptides": some, "target": "P00002"}
    commands.score(**wanted)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["rank", "target"], ["1", "P00002"],
                                                    ["2", "P00002"]]  # fmt: skip
    commands.score(**wanted, csv=True)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["sequence"] for row in rows} == {"ACDEF", "GHIKLM"}
    out = tmp_path / "scores.json"
    commands.score(**wanted, json=True, out=str(out))
    said = json.loads(out.read_text())
    assert len(said["model_sha256"]) == 64
    for row, cells in zip(said["peptides"], rows, strict=True):
        assert f"{row['over_untold']:.4f}" == cells["over_untold"]
    assert "2 scores in" in capsys.readouterr().err


def test_many_targets(
    folder: str, some: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "targets.csv"
    names.write_text("target\nP00000\nP00001\n")
    commands.score(model=folder, peptides=some, targets=str(names), csv=True)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["target"], row["rank"]) for row in rows] == [
        ("P00000", "1"), ("P00000", "2"), ("P00001", "1"), ("P00001", "2"),
    ]  # fmt: skip
    assert sorted(row["target_rank"] for row in rows) == ["1", "1", "2", "2"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"peptides": ""}, "give the peptides to score"),
        ({"peptides": "/no/file"}, "there is no file at /no/file"),
        ({"target": "P00009"}, "target 'P00009' is not among the 3 of this model; near are"),
        ({"target": "P00001", "targets": "t"}, "either --target or --targets"),
        ({"target": "P00001", "label": "background"}, "leave one of the two out"),
        ({"label": "interacing"}, "did you mean 'interacting'"),
        ({"json": True, "csv": True}, "either --json or --csv"),
        ({"repeats": 1}, "repeats is 1, but must be from 2"),
        ({"model": ""}, "give either --run NAME or --model FOLDER"),
    ],
)
def test_wrong_words_for_score(folder: str, some: str, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        commands.score(**{"model": folder, "peptides": some, **changed})
