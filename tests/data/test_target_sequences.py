from pathlib import Path

import numpy as np
import pytest

from mimir.data import target_sequences
from mimir.data.alphabet import encode
from mimir.data.proteins import Proteins
from mimir.errors import BadInput


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    proteins = Proteins(("B", "A"), encode("MKVL" * 30 + "WWWW"), np.array([0, 120, 124]))
    path = tmp_path / "t.fasta"
    path.write_text(target_sequences.fasta(["A", "B", "C"], proteins))
    assert max(map(len, path.read_text().splitlines())) == 60
    found = target_sequences.read(path)
    assert found.names == ("A", "B")
    assert found.offsets.tolist() == [0, 4, 124]


@pytest.mark.parametrize(
    ("header", "name"),
    [("sp|P04637|P53_HUMAN Cellular", "P04637"), ("P04637 x", "P04637"), ("a|b", "a|b")],
)
def test_a_header_gives_the_accession(tmp_path: Path, header: str, name: str) -> None:
    path = tmp_path / "t.fasta"
    path.write_text(f">{header}\nMKVLAA\n")
    assert target_sequences.read(path).names == (name,)


@pytest.mark.parametrize(
    ("sequence", "said"),
    [
        ("ATGCATGCATGCATGC", "is a nucleotide sequence (ATGCATGCATGC...); give the protein"),
        ("augcaugcaugcn", "is a nucleotide sequence"),
        ("MKJLV", "'J' at position 3, which is not one of"),
        ("MKV", "has 3 letters, but a protein to compare has 4 to"),
        ("", "has 0 letters"),
        ("MKV*LA", "'*' at position 4"),
    ],
)
def test_what_is_no_protein_gets_one_sentence(tmp_path: Path, sequence: str, said: str) -> None:
    with pytest.raises(BadInput) as typed:
        target_sequences.single(sequence)
    assert said in str(typed.value)
    assert "\n" not in str(typed.value)
    path = tmp_path / "t.fasta"
    path.write_text(f">T1\n{sequence}\n")
    with pytest.raises(BadInput, match="T1"):
        target_sequences.read(path)


def test_lower_case_and_blanks_are_taken() -> None:
    assert target_sequences.single(" mkv\nlaa ").tokens.tolist() == encode("MKVLAA").tolist()
