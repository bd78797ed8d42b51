import io
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimir.data import commands
from mimir.data.alphabet import decode
from mimir.data.build import build
from mimir.data.columns import HEADER
from mimir.data.links import verify_links
from mimir.data.pack import pack
from mimir.data.peptides import load
from mimir.data.table import parse
from mimir.data.thin import Thinning, thin
from mimir.errors import BadInput

ROWS = [f"MKV{a}{b},1,P{number}" for number, a in enumerate("AC") for b in "ACDEFGHIKL"]
ROWS += ["WWWWW,1,P9", "ACDEF,0,", "GGGGG,0,"]


def _kept(rows: list[str], thinning: Thinning, seed: int = 0) -> list[str]:
    table = parse((HEADER + "\n".join(rows)).encode())
    assert table is not None
    thinned = thin(table, thinning, seed)
    assert thinned.excluded + thinned.capped + len(thinned.kept) == len(rows)
    left = table.take(thinned.kept)
    names = [left.vocabulary[target] if target >= 0 else "" for target in left.targets.tolist()]
    assert set(left.vocabulary) == set(names) - {""}
    letters = [
        decode(left.tokens[a:b]) for a, b in zip(left.offsets, left.offsets[1:], strict=False)
    ]
    found = [f"{s},{label},{t}" for s, label, t in zip(letters, left.labels, names, strict=True)]
    assert found == [rows[row] for row in thinned.kept.tolist()]
    return found


def test_a_cap_leaves_so_many_of_each_target_and_all_background() -> None:
    found = _kept(ROWS, Thinning(most=3))
    assert Counter(row.split(",")[2] for row in found) == {"P0": 3, "P1": 3, "P9": 1, "": 2}
    backwards = _kept(ROWS[::-1], Thinning(most=3))
    assert sorted(backwards) == sorted(found)
    assert _kept(ROWS, Thinning(most=3), seed=1) != found
    assert _kept(ROWS, Thinning(most=10)) == _kept(ROWS, Thinning()) == ROWS


def test_excluded_targets() -> None:
    assert _kept(ROWS, Thinning(("P0", "P9"))) == [
        row for row in ROWS if row[-2:] not in ("P0", "P9")
    ]
    assert len(_kept(ROWS, Thinning(("P1",), most=2))) == 2 + 1 + 2
    with pytest.raises(BadInput, match="no target 'P8', which is to be excluded; near are P"):
        _kept(ROWS, Thinning(("P0", "P8")))
    with pytest.raises(BadInput, match="--most-pairs-per-target is -1, but must be 0"):
        Thinning(most=-1)


def test_pack_says_what_it_left_out(
    inputs: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    csv: Path = inputs.folder / "d.csv"
    out: Path = inputs.folder / "d.safetensors"
    build(inputs.human, inputs.viral, inputs.pairs, csv, rows=540, progress=io.StringIO())
    listed = inputs.folder / "targets.txt"
    listed.write_text("P00003\n\nP00004\n")
    for given in (str(listed), "P00003, P00004", ("P00003", "P00004")):
        commands.pack(str(csv), out=str(out), exclude_targets=given, most_pairs_per_target=1)  # type: ignore[arg-type]
        said = capsys.readouterr().out
        assert "not packed  4 pairs of excluded targets, 18 beyond 1 pairs per target" in said
    listed.write_text("P00003\n", encoding="utf-16")
    with pytest.raises(BadInput, match="is UTF-16 text; save it as UTF-8"):
        commands.pack(str(csv), out=str(out), exclude_targets=str(listed))
    peptides = load(out)
    assert len(peptides.vocabulary) == (peptides.labels == 1).sum() == 18
    # Groups of the sidecar still belong to their rows, and the proof still finds them.
    pack(csv, out, 0.2, thinning=Thinning(most=1), progress=io.StringIO())
    found = verify_links(out, csv, io.StringIO())
    assert (found.count, found.unchecked) == (0, ())
    assert found.held_background > 50
    rows = _rows_of(out, csv)
    assert rows == sorted(rows)


def _rows_of(out: Path, csv: Path) -> list[int]:
    """Rows of the CSV that a packed file has, found by their letters and targets."""
    peptides = load(out)
    lines = {line: row for row, line in enumerate(csv.read_text().splitlines()[1:])}
    found = []
    for row in range(len(peptides)):
        a, b = peptides.offsets[row : row + 2]
        target = int(peptides.targets[row])
        name = peptides.vocabulary[target] if target >= 0 else ""
        found.append(lines[f"{decode(peptides.tokens[a:b])},{peptides.labels[row]},{name}"])
    return found
