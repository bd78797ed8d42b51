import inspect
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimir.data import commands
from mimir.data.draw import Draws
from mimir.data.verify import verify
from mimir.errors import BadInput


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
    commands.pack(out, str(inputs.folder / "d.safetensors"), validation=0.1)
    text = capsys.readouterr().out
    assert "540 peptides" in text
    assert "by protein clusters" in text
    assert "order-2 Markov" in text


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
    out = _build(inputs)
    said = capsys.readouterr().out
    assert "note: the proteins of --viral look like DNA or RNA: 100% of their letters" in said
    assert "20 of 20 targets have fewer than 5 pairs" in said
    inputs.human.write_text(inputs.viral.read_text())
    _build(inputs)
    capsys.readouterr()
    commands.verify(out)
    assert "note: background peptides look like DNA or RNA: 100%" in capsys.readouterr().out
    commands.pack(out, str(inputs.folder / "d.safetensors"))
    said = capsys.readouterr().out
    assert "note: background peptides look like DNA or RNA: 100%" in said
    assert "targets have fewer than 5 training pairs" in said


def test_json(inputs: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    out = _build(inputs, json=True)
    assert json.loads(capsys.readouterr().out)["rows"] == 540
    commands.verify(out, json=True)
    assert json.loads(capsys.readouterr().out)["ok"] is True
    commands.pack(out, str(inputs.folder / "d.safetensors"), json=True)
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
        assert parameter.annotation in (str, int, float, bool)
