"""The commands sample, score and evaluate on a pulled folder, in this process."""

import csv
import io
import json
import math
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from mimir.data.peptides import Peptides
from mimir.errors import BadInput
from mimir.output import commands, given, likeness
from mimir.training import early_stop
from tests import toys
from tests.output.test_export import folder_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    engine = toys.engine()
    engine.advance(11)
    return str(folder_of(engine, tmp_path_factory.mktemp("pulled") / "m"))


@pytest.fixture(autouse=True)
def no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is."""
    monkeypatch.setattr("mimir.console.LINE_EVERY", math.inf)


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


def test_letters_that_make_a_score_doubtful_are_told(
    folder: str, some: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.score(model=folder, peptides=some)
    assert capsys.readouterr().err == ""
    odd = tmp_path / "odd.txt"
    odd.write_text("ACDEF\nGHXKBM\nACXEF\nAcDEF\n")
    commands.score(model=folder, peptides=str(odd))
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("2 of 4 peptides have rare letters (B, X)")
    assert said[1].startswith("1 of 4 peptides have small letters")


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


@pytest.fixture
def sample(folder: str, capsys: pytest.CaptureFixture[str], data: Any) -> Any:
    """Draws with these options: the rows of a CSV, and what was said."""

    def draw(**wanted: Any) -> tuple[list[dict[str, str]], str]:
        commands.sample(**{"model": folder, "format": "csv", "repeats": 2, **wanted})
        told = capsys.readouterr()
        return list(csv.DictReader(io.StringIO(told.out))), told.err

    return draw


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Peptides:
    """Stands in for the run's data."""
    found = toys.peptides(600)
    monkeypatch.setattr("mimir.output.given.peptides_of", lambda *words: found)
    return found


def test_samples_tell_what_is_to_be_known(
    sample: Any, folder: str, data: Peptides, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, _ = sample(n=5, target="P00001", data="it", seed=3)
    assert list(rows[0]) == [
        "id", "sequence", "target", "label", "score", "score_se", "nelbo", "length", "charge",
        "gravy", "pi", "nearest", "identity", "model", "settings",
    ]  # fmt: skip
    pairs = given.training_pairs(data)
    for row in rows:
        assert int(row["length"]) == len(row["sequence"])
        nearest, identity = pairs.nearest(row["sequence"])
        assert (row["nearest"], float(row["identity"])) == (
            nearest,
            pytest.approx(identity, abs=1e-4),
        )
    assert len({row["id"] for row in rows}) == 5
    again, _ = sample(n=5, seed=4, target="P00001", repeats=0)
    assert not {row["id"] for row in rows} & {row["id"] for row in again}
    assert "score" not in again[0]
    assert "nearest" not in again[0]
    # The settings reproduce the samples.
    words = shlex.split(rows[0]["settings"])
    options = dict(zip((w[2:].replace("-", "_") for w in words[::2]), words[1::2], strict=True))
    numbers = {"min_length": int, "max_length": int, "seed": int, "temperature": float,
               "guidance": float}  # fmt: skip
    same, _ = sample(
        n=5, data="it", **{key: numbers.get(key, str)(value) for key, value in options.items()}
    )
    assert same == rows
    commands.sample(model=folder, n=5, target="P00001", repeats=2, seed=3, data="it", format="json")
    told = json.loads(capsys.readouterr().out)
    assert told["headers"][0]["settings"]["seed"] == 3
    assert told["headers"][0]["model_sha256"].startswith(rows[0]["model"])
    assert [row["sequence"] for row in told["peptides"]] == [row["sequence"] for row in rows]
    commands.sample(model=folder, n=5, target="P00001", repeats=2, seed=3, data="it", json=True)
    assert json.loads(capsys.readouterr().out) == told
    commands.sample(model=folder, n=5, target="P00001", repeats=2, seed=3, data="it")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1::2] == [row["sequence"] for row in rows]
    assert lines[0].startswith(f">{rows[0]['id']} target=P00001 label=interacting score=")
    assert lines[0].endswith(f'settings="{rows[0]["settings"]}"')


def test_a_table_where_somebody_looks(
    folder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words: dict[str, Any] = {"model": folder, "n": 3, "target": "P00001", "repeats": 2}

    def printed(**more: Any) -> list[str]:
        commands.sample(**{**words, **more})
        return capsys.readouterr().out.splitlines()

    drawn = printed()[1::2]
    assert printed(format="fasta")[1::2] == drawn
    table = printed(format="table")
    assert table[0].split() == [
        "sequence", "score", "score_se", "nelbo", "length", "charge", "gravy", "pi"
    ]  # fmt: skip
    assert [line.split()[0] for line in table[1:4]] == drawn
    assert table[4] == ""
    assert re.match(r"model [0-9a-f]{16}, drawn by --target P00001 --label interact", table[5])
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert printed() == table
    assert printed(format="fasta")[1::2] == drawn
    monkeypatch.undo()
    assert printed(rank=True, format="table")[0].startswith("rank  sequence")


def test_ranked_samples_are_the_same_in_another_order(sample: Any) -> None:
    plain, _ = sample(n=20, target="P00001")
    ranked, _ = sample(n=20, target="P00001", rank=True)
    assert [row["rank"] for row in ranked] == [str(n) for n in range(1, 21)]
    scores = [float(row["score"]) for row in ranked]
    assert scores == sorted(scores, reverse=True)
    assert {row["id"]: row["sequence"] for row in plain} == {
        row["id"]: row["sequence"] for row in ranked
    }


def test_unwanted_peptides_are_drawn_again(sample: Any, tmp_path: Path, data: Peptides) -> None:
    short: dict[str, Any] = {"pattern": "ACD.", "repeats": 0}
    plain, _ = sample(n=60, **short)
    different, said = sample(n=15, unique=True, **short)
    found = [row["sequence"] for row in different]
    assert len(set(found)) == 15 > len({row["sequence"] for row in plain[:15]})
    assert not said
    few, said = sample(n=21, unique=True, **short)
    assert len(few) <= 20
    assert f"{21 - len(few)} of the 21 peptides are not there" in said
    path = tmp_path / "mine.txt"
    path.write_text("\n".join(found))
    others, _ = sample(n=3, exclude=str(path), unique=True, **short)
    assert not {row["sequence"] for row in others} & set(found)


def test_lengths_follow_the_target(sample: Any, folder: str) -> None:
    words = json.loads((Path(folder) / "vocabulary.json").read_text())
    own = {int(size): count for size, count in words["lengths"]["targets"][1].items()}
    rows, _ = sample(n=400, target="P00001", repeats=0)
    even, _ = sample(n=400, target="P00001", repeats=0, lengths="uniform")

    def share(rows: list[dict[str, str]]) -> float:
        return sum(int(row["length"]) in own for row in rows) / len(rows)

    total = sum(own.values())
    pooled = words["lengths"]["interacting"]
    of_all = sum(pooled[size] for size in own) / sum(pooled)
    assert share(rows) == pytest.approx((total + 5 * of_all) / (total + 5), abs=0.06)
    assert share(even) == pytest.approx(len(own) / 17, abs=0.08)


def test_novel_samples_are_none_of_training(sample: Any, data: Peptides) -> None:
    rows = data.subset(0)
    trained = likeness.texts(data.tokens, data.offsets, rows[data.lengths[rows] == 4])
    pattern = trained[0][:3] + "."
    plain, _ = sample(n=200, pattern=pattern, repeats=0, data="it")
    novel, _ = sample(n=200, pattern=pattern, repeats=0, data="it", novel=True)
    assert trained[0] in {row["sequence"] for row in plain}
    assert trained[0] not in {row["sequence"] for row in novel}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"lengths": "unifrom"}, "--lengths is 'unifrom', but must be data or uniform"),
        ({"format": "tsv"}, "--format is 'tsv', but must be table, fasta, csv or json"),
        ({"rank": True, "repeats": 0}, "--rank needs scores"),
        ({"repeats": 1}, "--repeats is 1"),
        ({"temperature": 0.0}, "--temperature is 0, but"),
        ({"json": True, "format": "csv"}, "give either --json or --format csv"),
        ({"novel": True}, "--novel with --model needs the training data"),
        ({"exclude": "/no/file"}, "there is no file at /no/file"),
        ({"n": 0}, "--n is 0,"),
    ],
)
def test_wrong_words_for_sample(folder: str, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        commands.sample(**{"model": folder, **changed})


def test_peptides_for_many_targets(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sequence = "MKVLWAACDEFGHIKLMNPQRSTVWY"
    path = tmp_path / "t.fasta"
    path.write_text(f">new\n{sequence}\n>P00001\nWWWWWWW\n")
    commands.sample(model=folder, n=3, targets=str(path), format="csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["target"] for row in rows] == ["new"] * 3 + ["P00001"] * 3
    commands.sample(model=folder, n=3, target_sequence=sequence, format="csv")
    alone = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["sequence"] for row in alone] == [row["sequence"] for row in rows[:3]]
    with pytest.raises(BadInput, match="--targets"):
        commands.sample(model=folder, targets=str(path), out=str(path))
    # The model knows nothing of either: the peptides are the same, but not what they are for.
    path.write_text(f">one\n{'Y' * 8}\n>other\n{'H' * 8}\n")
    commands.sample(model=folder, n=3, targets=str(path), format="csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["target"] for row in rows] == ["one"] * 3 + ["other"] * 3
    assert len({row["id"] for row in rows}) == 6
    assert {row["score"] for row in rows} == {"0.0000"}


def test_last_takes_the_weights_of_the_last_step(
    some: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = toys.engine()
    engine.advance(3)
    early_stop.judge(engine, 2.0)
    engine.advance(3)
    folder = str(folder_of(engine, tmp_path / "m"))
    digests = set()
    for last, words in ((False, "best weights"), (True, "last weights")):
        commands.score(model=folder, peptides=some, json=True, last=last)
        said = json.loads(capsys.readouterr().out)
        digests.add(said["model_sha256"])
        assert said["model"] == f"{folder}, {words}"
        commands.sample(model=folder, n=2, last=last, out=str(tmp_path / "samples.fasta"))
        assert words in capsys.readouterr().err
    assert len(digests) == 2


@pytest.mark.parametrize("repeats", [1, 12])
def test_evaluate_says_how_far_it_is(
    folder: str, repeats: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mimir.console.LINE_EVERY", 0.0)
    monkeypatch.setattr(given, "peptides_of", lambda *_: toys.peptides())
    commands.evaluate(model=folder, repeats=repeats, samples=10)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 10
    assert lines[-1].startswith("evaluate: ")
    assert lines[-1].endswith(" measurements (100%)")  # what was counted beforehand was done
    assert sum(line.endswith(" measurements (100%)") for line in lines) == 1
