import gzip
from pathlib import Path

import pytest

from mimir.errors import BadInput
from mimir.output.peptide_file import read_peptides, read_targets


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"ACDE\nfghikl\n", ["", ""]),
        (b"\xef\xbb\xbfACDE\r\n\r\n  FGHIKL  \r\n", ["", ""]),
        (b"# mine\nACDE\nFGHIKL", ["", ""]),
        (b"sequence\nACDE\nFGHIKL\n", ["", ""]),
        (b"label,Sequence,target\r\n1,ACDE,P1\r\n0,FGHIKL,\r\n", ["", ""]),
        (b'note,sequence\n"a, b",ACDE\nx,FGHIKL\n', ["", ""]),
        (b'"x","Sequence"\n"a","ACDE"\n\n"b","FGHIKL"\n', ["", ""]),
        (b'# mine\nsequence,note\nACDE,"two\n# lines, of text"\nFGHIKL,\n', ["", ""]),
        (b">one of mine\nAC\nDE\n>two\nFGHIKL\n", ["one", "two"]),
        (b">\r\nACDE\r\n>x\r\nFGHIKL", ["", "x"]),
    ],
)
def test_forms(tmp_path: Path, content: bytes, names: list[str]) -> None:
    path = tmp_path / "p"
    path.write_bytes(content)
    found = read_peptides(path)
    assert [each.value for each in found] == ["ACDE", "FGHIKL"]
    assert [each.name for each in found] == names


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no peptides"),
        (b"\n# only a comment\n", "holds no peptides"),
        (b"sequence\n", "holds no peptides"),
        (b',""\n', "holds no peptides"),
        (b"ACDE\nAC1E\n", r"line 2: 'AC1E' has the letter '1'; peptides are of ACDEF"),
        (b"ACDE\nAC-E\n", "has the letter '-'"),
        (b"ACDJ\n", "has the letter 'J'"),
        (b"ACDE\nACD\n", r"line 2: 'ACD' has 3 letters, but the model knows peptides of 4 to 20"),
        (b"A" * 21, "has 21 letters"),
        (b"peptide,target\nACDE,P1\n", "line 1: there is no column 'sequence'; known are peptide"),
        (b"sequences,x\nACDE,P1\n", "did you mean 'sequences'"),
        (b"x,sequence\nACDE\n", "line 2: there are 1 columns"),
        (b'x,sequence\n"a\nb",ACDE\nc\n', "line 4: there are 1 columns"),
        (b"# mine\npeptide\nACDE\n", "line 2: 'peptide' may be a header or a peptide"),
        (b'"Seq"\nACDE\n', "'seq' may be a header or a peptide"),
        (b"sequence,x\nACDE,\nFGHIKL," + b"y" * 131_073, "line 3: this is no row of a CSV: field"),
        (b'sequence,x\nACDE,"y\nFGHIKL,\n', "line 2: this is no row .* end .* a quote in it not"),
        (b"sequence,x,Sequence\nACDE,,FGHIKL\n", "line 1: the header names sequence twice"),
        (gzip.compress(b"ACDE\n", mtime=0), "is compressed with gzip; unpack it with `gunzip`"),
        (b"PK\3\4\x14\0", "is a ZIP file, as spreadsheets are; save it as CSV"),
        ("ACDE\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        (b">one\n>two\nACDE\n", "line 1: the header 'one' has no sequence"),
        (b"ACDE\n\xff\n", "is not UTF-8 text .byte 6.; save it as UTF-8"),
        (b"ACDE\n>x\n", "has the letter '>'"),
    ],
)
def test_mistakes(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "p"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=words):
        read_peptides(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no file at"):
        read_peptides(tmp_path / "p")


def test_targets_once_each(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"P2\nP1\nP2\n")
    assert [each.value for each in read_targets(path)] == ["P2", "P1"]
    path.write_bytes(b"target,n\nP2,4\nP1,5\n")
    assert [each.value for each in read_targets(path)] == ["P2", "P1"]
    path.write_bytes(b"")
    with pytest.raises(BadInput, match="holds no targets"):
        read_targets(path)
