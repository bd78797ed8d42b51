import inspect
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimir import cli
from mimir.data import commands
from mimir.data.draw import Draws
from mimir.data.pack import usual_part
from mimir.data.verify import verify
from mimir.errors import BadInput
from mimir.submission import prepare

CSV = "sequence,label,target\n" + "".join(f"ACDEFGH{a}{b},0,\n" for a in "IKLM" for b in "NPQRS")


def _build(inputs: SimpleNamespace, **options: object) -> str:
    out = str(inputs.folder / "d.csv")
    proteins = {"human": str(inputs.human), "viral": str(inputs.viral)}
    commands.build(pairs=str(inputs.pairs), out=out, **{"rows": 540, **proteins, **options})  # type: ignore[arg-type]
    return out


def test_build_verify_pack_say_what_they_did(
    inputs: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    out = _build(inputs)
    said = capsys.readouterr()
    assert "540 rows" in said.out
    assert "250 human and 250 viral" in said.out
    assert "build 1/6" in said.err
    commands.verify(out)
    assert "all constraints hold" in capsys.readouterr().out
    commands.pack(out, out=str(inputs.folder / "d.safetensors"), validation=0.1)
    text = capsys.readouterr().out
    assert "540 peptides" in text
    assert "by protein clusters" in text
    assert "order-2 Markov" in text


def test_pack_and_submit_hold_out_the_same(
    inputs: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    out = _build(inputs)
    packed = inputs.folder / "usual.safetensors"
    commands.pack(out, out=str(packed))
    assert packed.read_bytes() == prepare("smoke", {"batch": 4}, out).data.read_bytes()
    commands.pack(out, out=str(packed), validation=0.01)
    assert packed.read_bytes() != prepare("smoke", {"batch": 4}, out).data.read_bytes()
    big = inputs.folder / "big.csv"
    for rows, part in ((100, 0.1), (40_000, 0.05), (1_000_000, 0.01)):
        big.write_text("\n" * (rows + 1))
        assert usual_part(big) == part


def test_one_proteome_is_enough(
    inputs: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    for other, kind in (("viral", "human"), ("human", "viral")):
        out = _build(inputs, **{other: ""})
        assert f"background  500 {kind} windows" in capsys.readouterr().out
        assert verify(Path(out)).background == 500
    with pytest.raises(BadInput, match="give --human, --viral, or both"):
        _build(inputs, human="", viral="")


def test_doubtful_data_is_noted_by_every_command(
    inputs: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    bases = "".join("ACGT"[i] for i in Draws(5, 5).below(4, 9000).tolist())
    inputs.viral.write_text(f">V\n{bases}\n")
    with pytest.raises(
        BadInput, match=r"the proteins of --viral look like DNA or RNA: 100% .*--allow-dna"
    ):
        _build(inputs)
    assert not (inputs.folder / "d.csv").exists()
    out = _build(inputs, allow_dna=True)
    said = capsys.readouterr().out
    assert "note: the proteins of --viral look like DNA or RNA: 100% of their letters" in said
    assert "20 of 20 targets have fewer than 5 pairs" in said
    inputs.human.write_text(inputs.viral.read_text())
    _build(inputs, allow_dna=True)
    capsys.readouterr()
    commands.verify(out)
    said = capsys.readouterr().out
    assert "note: background peptides look like DNA or RNA: 100%" in said
    assert "all constraints hold, but see the notes" in said
    commands.pack(out, out=str(inputs.folder / "d.safetensors"))
    said = capsys.readouterr().out
    assert "note: background peptides look like DNA or RNA: 100%" in said
    assert "targets have fewer than 5 training pairs" in said


def test_no_second_word_is_a_file_to_replace(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text(CSV)
    second.write_text(CSV)
    for command in ("pack", "verify"):
        with pytest.raises(BadInput, match=r"b\.csv' is one word too many for `data"):
            cli.check_words(
                f"data {command}", getattr(commands, command), [str(first), str(second)]
            )


@pytest.mark.parametrize("name", ["b.csv", "d.st", "d", "d.safetensors.gz"])
def test_a_packed_file_has_the_name_of_one(tmp_path: Path, name: str) -> None:
    """By which whoever reads data tells it from a CSV."""
    csv, out = tmp_path / "a.csv", tmp_path / name
    csv.write_text(CSV)
    with pytest.raises(BadInput, match=r"but must end in \.safetensors, or be - for standard"):
        commands.pack(str(csv), out=str(out))
    assert not out.exists()


@pytest.mark.parametrize("path", ["", ".", ".."])
def test_a_path_without_a_name(path: str, tmp_path: Path) -> None:
    """As from a variable that is not set; `mimir data pack ""` itself is refused before."""
    with pytest.raises(BadInput, match="cannot be read: Is a directory"):
        commands.pack(path, out=str(tmp_path / "d.safetensors"))
    with pytest.raises(BadInput, match="cannot be read: Is a directory"):
        commands.verify(path)
    with pytest.raises(BadInput, match="is a folder, which is not replaced"):
        commands.build(pairs="x.csv", human="x.fasta", out=path or ".")


def test_a_part_below_0_is_not_the_usual_part(tmp_path: Path) -> None:
    csv = tmp_path / "a.csv"
    csv.write_text(CSV)
    with pytest.raises(BadInput, match=r"--validation is -1\.0, but must be a part of the rows"):
        commands.pack(str(csv), out=str(tmp_path / "d.safetensors"), validation=-1.0)


def test_json(inputs: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    out = _build(inputs, json=True)
    assert json.loads(capsys.readouterr().out)["rows"] == 540
    commands.verify(out, json=True)
    assert json.loads(capsys.readouterr().out)["ok"] is True
    commands.pack(out, out=str(inputs.folder / "d.safetensors"), json=True)
    assert json.loads(capsys.readouterr().out)["grouping"] == "sidecar"


def test_verify_shows_problems_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "d.csv"
    path.write_text("sequence,label,target\n" + "AC,0,\n" * 30)
    with pytest.raises(BadInput, match="has 30 problems"):
        commands.verify(str(path))
    text = capsys.readouterr().out
    assert "row 20 (line 21), column sequence: 2 letters" in text
    assert "... and 10 more" in text
    assert "all constraints hold" not in text


def test_excluded_sources_as_text_or_as_a_tuple(
    inputs: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs.pairs.write_text(inputs.pairs.read_text() + "WWWW,P9,elm2018\nYYYY,P9,x1\n")
    for given in ("elm,X", ("elm", "X")):
        _build(inputs, exclude_sources=given)
        assert "(2 left out)" in capsys.readouterr().out


@pytest.mark.parametrize("name", commands.__all__)
def test_help_text(name: str) -> None:
    command = getattr(commands, name)
    text = inspect.getdoc(command) or ""
    assert text.split("\n")[0].endswith(".")
    assert f"Example:\n    python -m mimir data {name} --" in text
    for parameter in inspect.signature(command).parameters.values():
        assert f"    {parameter.name}: " in text
        assert parameter.annotation in (str, int, float, bool, float | None)
