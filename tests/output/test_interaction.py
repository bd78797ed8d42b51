"""PepBenchmark's interaction task, in the form that its own loader reads; not the real files."""

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimir.data.alphabet import decode, encode
from mimir.data.likeness import Described
from mimir.data.pepbenchmark import read
from mimir.data.proteins import Proteins
from mimir.data.split import TRAIN
from mimir.errors import BadInput
from mimir.output import benchmark
from mimir.output.condition import Condition, of_target
from mimir.output.interaction import Separation, by_condition, conditions_of, roc_auc, separate
from mimir.output.model_file import Opened, from_folder
from mimir.output.score import Scorer
from tests import toys
from tests.output.test_export import folder_of

ROWS = [  # peptide, protein, accession, label
    ("ACDEFGHI", "MKV", "P00001", 1), ("KLMNPQRS", "MKV", "P00001", 0),
    ("TVWYACDE", "MKW", "P00002", 1), ("FGHIKLMN", "MKW", "P00002", 0),
    ("PQRSTVWY", "MAA", "Q99999", 1), ("ACACACAC", "MAA", "Q99999", 0),
    ("ACD", "MKV", "P00001", 1), ("ACDEFGHIKLMNPQRSTVWYA", "MKV", "P00001", 0),
    ("acdefgh", "MKV", "P00001", 0), ("AC[Aib]EF", "MKV", "P00001", 0),
]  # fmt: skip
SPLITS = {
    "protein_random_cold": {"seed_0": [0, 1, 2, 3], "seed_1": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]},
    "peptide_kmer_cold": {"seed_0": [4, 5], "seed_1": [0, 2]},
}


def write(folder: Path, accessions: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    columns = ["pep_fasta", "prot_fasta", "prot_accession", "label"]
    for place, name in enumerate(columns):
        if name != "prot_accession" or accessions:
            with (folder / f"{name}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([["feature"], *([row[place]] for row in ROWS)])
    for name, seeds in SPLITS.items():
        body = {seed: {"train": [9], "valid": [], "test": rows} for seed, rows in seeds.items()}
        (folder / f"{name}_split.json").write_text(json.dumps(body))
    return folder


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> str:
    engine = toys.engine(lr=0.02)
    engine.advance(20)
    return str(folder_of(engine, tmp_path_factory.mktemp("pulled") / "m"))


@pytest.fixture(scope="module")
def opened(pulled: str) -> Opened:
    return from_folder(Path(pulled))


def test_auc_is_the_share_of_choices_that_are_right() -> None:
    random = np.random.default_rng(1)
    score = random.integers(0, 6, 60).astype(float)
    positive = random.random(60) < 0.4
    right = [(a > b) + 0.5 * (a == b) for a in score[positive] for b in score[~positive]]
    assert roc_auc(score, positive) == pytest.approx(np.mean(right))
    assert roc_auc(np.arange(4.0), np.array([False, False, True, True])) == 1
    for alike in (np.ones(3, dtype=bool), np.zeros(3, dtype=bool), np.zeros(0, dtype=bool)):
        assert roc_auc(np.zeros(len(alike)), alike) is None


def test_rows_are_scored_by_what_their_protein_is_worth(opened: Opened, tmp_path: Path) -> None:
    task = read(write(tmp_path / "PpI"))
    done: list[int] = []
    told = by_condition(opened, task)
    found = {
        (each.split, each.seed): each for each in separate(opened, task, told, 4, None, done.append)
    }
    assert sum(done) == 2 * sum(map(len, told.values())) == 2 * 5
    worth = []
    for peptide, _, accession, _ in ROWS[:4]:
        condition = Condition(1, opened.vocabulary.targets.index(accession), accession)
        worth.append(Scorer(opened.model, [peptide], 4).scores(condition).over_untold.value[0])
    own = found["protein_random_cold", "seed_0"]
    labels = np.array([True, False, True, False])
    assert own.auc == own.auc_told == roc_auc(np.array(worth), labels)
    assert (own.rows, own.binding, own.told, own.skipped) == (4, 2, 4, 0)
    every = found["protein_random_cold", "seed_1"]
    assert (every.rows, every.binding, every.told, every.skipped) == (7, 3, 5, 3)
    unknown = found["peptide_kmer_cold", "seed_0"]  # no protein known: no better than chance
    assert (unknown.told, unknown.auc, unknown.auc_told) == (0, 0.5, None)
    assert unknown.auc_random in (0, 1)
    assert found["peptide_kmer_cold", "seed_1"].auc is None  # all of them bind
    assert unknown.seen is None


def test_a_protein_is_known_by_accession_by_its_sequence_or_by_what_is_like_it(
    opened: Opened,
) -> None:
    data = toys.peptides()
    first, second = (data.described.sequence(number) for number in (0, 1))
    told = replace(opened, composition=data.composition)
    like = second[: len(second) // 2] + "W" * 30
    found = conditions_of(
        told, ["P00000", "", "Q1", "Q2", "Q3", ""], ["", first, like, "W" * 40, "MK?V", ""]
    )
    assert found[0] == found[1] == of_target(0, "P00000", data.composition)
    assert found[2] is not None
    assert found[2].target is None
    proteins = Proteins(("",), encode(like), np.array([0, len(like)]))
    wanted = data.composition.of_new(Described.of(("",), proteins))[0]
    assert found[2].bias == pytest.approx(wanted.tolist())
    assert found[3:] == [None, None, None]
    alone = conditions_of(replace(opened, composition=None), ["P00001", "Q1"], ["", second])
    assert alone == [Condition(1, 1, "P00001"), None]


def test_peptides_that_the_model_was_trained_on_are_told_apart(
    opened: Opened, tmp_path: Path
) -> None:
    trained = toys.peptides()
    row = next(row for row in trained.subset(TRAIN, 1) if 8 <= trained.lengths[row] <= 19)
    letters = decode(trained.tokens[trained.offsets[row] : trained.offsets[row + 1]])
    write(tmp_path / "PpI")
    with (tmp_path / "PpI" / "pep_fasta.csv").open("w") as file:
        file.write("feature\n" + "\n".join([letters + "W", *(row[0] for row in ROWS[1:])]) + "\n")
    split = {"seed_0": {"test": [0, 1]}}
    (tmp_path / "PpI" / "a_split.json").write_text(json.dumps(split))
    task = read(tmp_path / "PpI")
    found = separate(opened, task, by_condition(opened, task), 2, trained)
    assert [each.seen for each in found] == [1, 0, 1, 1, 1]
    assert found[0].auc in (0, 1)
    assert found[0].auc_new is None  # the one that binds was trained on


def test_the_command(pulled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(write(tmp_path / "PpI"))
    benchmark.pepbenchmark(folder, model=pulled, repeats=2)
    said = capsys.readouterr().out
    assert "10 rows of PepBenchmark" in said
    assert "protein_random_cold: auc 0." in said
    assert " over 2 seeds" in said
    benchmark.pepbenchmark(folder, model=pulled, repeats=2, json=True)
    body = json.loads(capsys.readouterr().out)
    assert [Separation(**each).split for each in body["folds"]] == [
        "peptide_kmer_cold"] * 2 + ["protein_random_cold"] * 2  # fmt: skip
    assert {each["split"]: each["seeds"] for each in body["splits"]}["protein_random_cold"] == 2
    (tmp_path / "PpI" / "prot_accession.csv").unlink()
    benchmark.pepbenchmark(folder, model=pulled, repeats=2)
    assert "note: the model knows none of the proteins" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "text", "says"), [
    ("pep_fasta.csv", None, "there is no file of PepBenchmark at"),
    ("pep_fasta.csv", "peptide\nACDE\n", "has no column feature; its first line has peptide"),
    ("prot_fasta.csv", "feature\nMKV\n", "has 1 rows, but pep_fasta.csv has 10"),
    ("prot_fasta.csv", 'feature\n"MKV', "line 2: .* unexpected end of data; is a quote in it not"),
    ("prot_fasta.csv", "feature,feature\nMKV,MKW\n", "names feature twice; take one of the"),
    ("prot_fasta.csv", "feature,n\nMKV,1\nMKV\n", "line 3: 1 fields instead of 2"),
    ("prot_fasta.csv", gzip.compress(b"feature\nMKV\n", mtime=0), "with gzip; unpack it with"),
    ("prot_fasta.csv", "feature\nMKV\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
    ("prot_fasta.csv", "feature\nMKÄ\n".encode("latin-1"), r"is not UTF-8 text \(byte 11\)"),
    ("label.csv", 'feature,note\n0,"a\nb"\n\n2,\n' + "1,\n" * 8, "line 5: '2' is neither 0 nor 1"),
    ("label.csv", "feature\n" + "1\n" * 9 + "2\n", "line 11: '2' is neither 0 nor 1"),
    ("peptide_kmer_cold_split.json", "{", "is not JSON"),
    ("peptide_kmer_cold_split.json", "{}", "holds no splits by seed"),
    ("peptide_kmer_cold_split.json", '{"seed_0": {"train": [1]}}', '"test" is not a list of'),
    ("peptide_kmer_cold_split.json", '{"seed_0": {"test": [10]}}', "rows from 0 to 9"),
    ("peptide_kmer_cold_split.json", '{"seed_0": {"test": [1, 1]}}', "different rows"),
    ("peptide_kmer_cold_split.json", '{"seed_0": {"test": [true]}}', "different rows"),
    ("", None, "holds no official split"),
])  # fmt: skip
def test_files_of_another_form(tmp_path: Path, name: str, text: Any, says: str) -> None:
    folder = write(tmp_path / "PpI")
    for path in folder.glob("*_split.json") if not name else ():
        path.unlink()
    if name and text is None:
        (folder / name).unlink()
    elif name:
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadInput, match=says):
        read(folder)
    with pytest.raises(BadInput, match="there is no folder"):
        read(tmp_path / "none")


def test_a_byte_order_mark_and_blanks_in_the_header_change_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "PpI")
    plain = read(folder)
    path = folder / "pep_fasta.csv"
    marked = b"\xef\xbb\xbf" + path.read_bytes().replace(b"feature", b'"feature "')
    path.write_bytes(marked)
    assert read(folder).peptides == plain.peptides
