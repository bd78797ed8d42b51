from pathlib import Path

import pytest

from mimir.data.pairs import read_pairs
from mimir.errors import BadInput


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_sorts_merges_repeats_and_ignores_other_columns(tmp_path: Path) -> None:
    text = '\ufeffnote,target,sequence\r\n"a,b",P2,MKVL\r\n,P1,ACDE\r\nx,P2,MKVL\r\n'
    pairs = read_pairs(_file(tmp_path, text))
    assert pairs.rows == (("ACDE", "P1"), ("MKVL", "P2"))
    assert (pairs.repeated, pairs.excluded) == (1, 0)


def test_excludes_rows_all_of_whose_sources_match(tmp_path: Path) -> None:
    text = "sequence,target,source\nAAAA,P1,elm2018\nCCCC,P1,elm2018;pdb\nDDDD,P1,pdb\n"
    pairs = read_pairs(_file(tmp_path, text), ["ELM"])
    assert [sequence for sequence, _ in pairs.rows] == ["CCCC", "DDDD"]
    assert pairs.excluded == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column sequence or target; its first line has nothing"),
        ("sequence,protein\nAAAA,P1\n", "no column target"),
        ("sequence,target\n", "has no pairs"),
        ("sequence,target\nAAAA,P1\nAAA,P1\n", "line 3: sequence 'AAA'"),
        (f"sequence,target\n{'A' * 21},P1\n", "line 2: sequence"),
        ("sequence,target\nAAJA,P1\n", "line 2: sequence 'AAJA'"),
        ("sequence,target\nAAAA,\n", "line 2: target ''"),
        ("sequence,target\nAAAA\n", "line 2: target ''"),
        ('sequence,target\nAAAA,"P1,P2"\n', "line 2: target 'P1,P2'"),
    ],
)
def test_bad_pairs(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_pairs(_file(tmp_path, text))


def test_exclusion_needs_the_source_column(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no column source"):
        read_pairs(_file(tmp_path, "sequence,target\nAAAA,P1\n"), ["elm"])


def test_nothing_left_and_not_utf8(tmp_path: Path) -> None:
    path = _file(tmp_path, "sequence,target,source\nAAAA,P1,elm\n")
    with pytest.raises(BadInput, match="left after the exclusion"):
        read_pairs(path, ["elm"])
    path.write_bytes(b"sequence,target\nAAAA,P\xff\n")
    with pytest.raises(BadInput, match="not UTF-8"):
        read_pairs(path)
