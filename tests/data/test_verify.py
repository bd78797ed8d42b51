import json
from pathlib import Path

import pytest

from mimir.data import table
from mimir.data.draw import Draws
from mimir.data.scan import Scan
from mimir.data.verify import verify
from mimir.errors import BadInput

CLEAN = (
    "sequence,label,target\n"
    "ACDEF,0,\n"
    "MKVLW,1,P1\n"
    "MKVLW,1,P2\n"
    "GGGGUX,0,\n"
    "ACDEFGHIKLMNPQRSTVWY,1,P1\n"
)


def _problems(tmp_path: Path, data: str | bytes) -> list[str]:
    path = tmp_path / "d.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    report = verify(path)
    assert report.ok == (not report.problems)
    json.dumps(report.as_json(), allow_nan=False)
    return [str(problem) for problem in report.problems]


def test_clean_file_and_its_counts(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text(CLEAN)
    report = verify(path)
    assert report.ok
    assert (report.rows, report.background, report.pairs) == (5, 2, 3)
    assert (report.peptides, report.targets, report.residues) == (2, 2, 41)
    assert report.length_distance == pytest.approx(0.5, abs=1e-4)
    assert "differ in length" in report.notes[0]
    assert report.as_json()["ok"] is True


def test_no_final_newline_is_accepted(tmp_path: Path) -> None:
    assert _problems(tmp_path, CLEAN[:-1]) == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", "line 1: the file is empty"),
        ("\n\n", "line 1: the file is empty"),
        ("sequence,label,target\n", "line 1: there is a header but no rows"),
        ("sequence,label\nACDE,0\n", "line 1, column target: the header lacks target"),
        ("sequence;label;target\nACDE;0;\n", "it is split at ';', and must be at commas; it must"),
        ("Sequence\tlabel\ttarget\n", r"it is split at '\t', and must be at commas"),
        ("ACDE,0,\n", "the header lacks sequence and label and target"),
        ("sequence,label,target,label\n", "line 1: the header names label twice"),
        (
            'sequence,"label,target\nACDE,0,\n',
            "line 1: the header 'sequence,\"label,target' cannot",
        ),
        (CLEAN + "ACJE,0,\n", "row 6 (line 7), column sequence: 'J' at position 3 is not one"),
        (CLEAN + "acde,0,\n", "column sequence: 'a' at position 1 is not one of "),
        (CLEAN + "ACD,0,\n", "row 6 (line 7), column sequence: 3 letters; there must be 4 to 20"),
        (CLEAN + "A" * 21 + ",0,\n", "row 6 (line 7), column sequence: 21 letters"),
        (CLEAN + ",0,\n", "row 6 (line 7), column sequence: 0 letters"),
        (CLEAN + "ACDE,2,\n", "row 6 (line 7), column label: '2' is neither 0 nor 1"),
        (CLEAN + "ACDE,,\n", "column label: '' is neither"),
        (CLEAN + "ACDE,1.0,P1\n", "column label: '1.0' is neither"),
        (CLEAN + "ACDE,1,\n", "row 6 (line 7), column target: label 1 needs a target"),
        (CLEAN + "ACDE,0,P1\n", "column target: label 0 must have no target, but has 'P1'"),
        (CLEAN + "ACDE,1,P 1\n", "column target: 'P 1' is not 1 to 64 letters"),
        (CLEAN + "ACDE,1,Pé\n", "column target: 'Pé' is not"),
        (CLEAN + "ACDE,1," + "P" * 65 + "\n", "column target: "),
        (CLEAN + "ACDEF,0,\n", "background peptide ACDEF stands in row 1 already"),
        (CLEAN + "MKVLW,1,P2\n", "the pair MKVLW and P2 stands in row 3 already"),
        (CLEAN + "MKVLW,0,\n", "background peptide MKVLW is the peptide of a pair, in row 2"),
        (
            "sequence,label,target\nMKVLW,0,\nMKVLW,1,P1\n",
            "row 1 (line 2), column sequence: background peptide MKVLW is the peptide of a pair",
        ),
        (CLEAN.encode() + b"ACDE,1,P\xff\n", "row 6 (line 7), column target: byte 0xff is not UTF"),
        (CLEAN.encode() + b"AC\xe9E,0,\n", "row 6 (line 7), column sequence: byte 0xe9"),
        (CLEAN.replace("\n", "\r"), "line 1: a CR that ends no line"),
        (CLEAN + "ACDE,0,\rACDG,0,\n", "row 6 (line 7): a CR that ends no line"),
        (CLEAN + 'ACDE,1,"P,1"\n', "row 6 (line 7), column target: 'P,1' is not"),
        (CLEAN + '"ACDE"W,0,\n', "row 6 (line 7): the line cannot be read: "),
        (CLEAN + "ACDE,0\n", "row 6 (line 7): 2 fields instead of 3"),
        (CLEAN + "ACDE,0,,\n", "row 6 (line 7): 4 fields instead of 3"),
        (CLEAN + "\n", "row 6 (line 7): the line is empty"),
    ],
)
def test_each_kind_of_problem(tmp_path: Path, data: str | bytes, expected: str) -> None:
    found = _problems(tmp_path, data)
    assert len(found) == 1
    assert expected in found[0]


OTHER_FORMS = {
    "CR LF": CLEAN.replace("\n", "\r\n").encode(),
    "mixed ends": CLEAN.replace("\n", "\r\n", 3).encode(),
    "byte order mark": b"\xef\xbb\xbf" + CLEAN.encode(),
    "quoted": "".join(f'"{line}"\n' for line in CLEAN.replace(",", '","').split()).encode(),
    "other order": b"label,target,sequence\r\n" + b"".join(
        b"%s,%s,%s\r\n" % (label, target, sequence)
        for sequence, label, target in (line.split(b",") for line in CLEAN.encode().split()[1:])
    ),
    "more columns": b"note,sequence,label,x,target\n" + b"".join(
        b"\xe9 %d,%s,%s,,%s\n" % (row, *line.split(b","))
        for row, line in enumerate(CLEAN.encode().split()[1:])
    ),
    "more columns, quoted": b"sequence,label,target,note\n" + b"".join(
        b'%s,"two\nlines, and \"\"words\"\" \xe9"\n' % line for line in CLEAN.encode().split()[1:]
    ),
}  # fmt: skip


@pytest.mark.parametrize("chunk", [1, table.CHUNK])
@pytest.mark.parametrize("name", OTHER_FORMS)
def test_columns_are_found_by_name_in_any_form_of_csv(
    tmp_path: Path, name: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "CHUNK", chunk)
    data = OTHER_FORMS[name]
    plain, found = table.parse(CLEAN.encode()), table.parse(data)
    assert plain is not None
    assert found is not None
    for part in ("tokens", "offsets", "labels", "targets"):
        assert getattr(found, part).tolist() == getattr(plain, part).tolist()
        assert getattr(found, part).dtype == getattr(plain, part).dtype
    assert found.vocabulary == plain.vocabulary
    assert Scan(data).found == 0
    path = tmp_path / "d.csv"
    path.write_bytes(data)
    notes = [note for note in verify(path).notes if note.startswith("not read")]
    wanted = {"more columns": ["not read: columns note, x"], "more columns, quoted": [
        "not read: column note"]}  # fmt: skip
    assert notes == wanted.get(name, [])


def test_lines_are_counted_where_a_field_has_several() -> None:
    scan = Scan(OTHER_FORMS["more columns, quoted"] + b"AC,0,,x\n")
    assert [(problem.row, problem.line) for problem in scan.problems] == [(6, 12)]


def test_one_row_can_have_several_problems(tmp_path: Path) -> None:
    found = _problems(tmp_path, CLEAN + "AC,x,P1\nACDE,1,\n")
    assert [text.split(":")[0] for text in found] == [
        "row 6 (line 7), column sequence",
        "row 6 (line 7), column label",
        "row 7 (line 8), column target",
    ]


def test_twenty_problems_are_shown_and_all_counted(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text(CLEAN + "AC,0,\n" * 50)
    report = verify(path)
    assert (len(report.problems), report.problem_count, report.background) == (20, 50, 2)


def test_notes_for_a_missing_class(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("sequence,label,target\nACDE,0,\n")
    report = verify(path)
    assert report.ok
    assert report.length_distance is None
    assert "no pairs" in report.notes[0]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no data set CSV at"):
        verify(tmp_path / "none.csv")


def test_the_fast_and_the_explaining_half_agree() -> None:
    """Whatever one byte is changed to: `parse` refuses exactly what `Scan` finds wrong."""
    seen = set()
    forms = (CLEAN.encode(), OTHER_FORMS["more columns, quoted"][:94], OTHER_FORMS["other order"])
    for clean, at in ((form, at) for form in forms for at in range(len(form))):
        for byte in b'AJa01,\n\r"P \xff':
            for data in (
                clean[:at] + bytes([byte]) + clean[at + 1 :],
                clean[:at] + bytes([byte]) + clean[at:],
                clean[:at] + clean[at + 1 :],
            ):
                refused = table.parse(data) is None
                assert refused == (Scan(data).found > 0), data
                seen.add((clean, refused))
    assert len(seen) == 2 * len(forms)


def test_a_large_clean_file_is_parsed_row_by_row_alike() -> None:
    draws = Draws(1, 1)
    words = {"".join("ACDEFGHIKL"[i] for i in draws.below(10, 9).tolist()) for _ in range(300)}
    rows = [f"{word},1,T{i % 7}" if i % 3 else f"{word},0," for i, word in enumerate(sorted(words))]
    parsed = table.parse(("sequence,label,target\n" + "\n".join(rows) + "\n").encode())
    assert parsed is not None
    assert len(parsed) == len(rows)
    assert parsed.labels.tolist() == [int(row.split(",")[1]) for row in rows]
    names = [parsed.vocabulary[t] if t >= 0 else "" for t in parsed.targets.tolist()]
    assert names == [row.split(",")[2] for row in rows]
