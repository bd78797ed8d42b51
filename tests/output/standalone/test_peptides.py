"""The loader of a pulled folder draws and scores what Mimir draws and scores, without Mimir."""

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from mimir.data.peptides import Peptides
from mimir.output import export, folder, model_file, model_object, sampling, told
from mimir.output.condition import Condition
from mimir.output.score import Scorer
from mimir.output.standalone import peptides as loader
from tests import toys
from tests.output.test_export import folder_of
from tests.output.test_told import ALIKE, APART, featured, unseen
from tests.waiting import LIMIT

DRAWN = [
    {}, {"label": "any"}, {"label": "background"}, {"target": "P00001"}, {"target": "P00000"},
    {"target": "P00002"}, {"target": ALIKE}, {"target": APART},
    {"target": "P00001", "guidance": 2.0, "temperature": 0.7},
    {"target": "P00001", "pattern": "A..WP..."},
]  # fmt: skip
SCORED = ["ACDE", "WYWYWYWYWYWY", "MKVLWAACDEFGHIKLMNPQ", "BOUXZACDEFGHI"]


def pulled(path: Path, data: Peptides | None = None, **settings: Any) -> Path:
    """A folder with a model that tells its conditions apart, and the loader."""
    engine = toys.engine(data=data, lr=0.02, **settings)
    engine.advance(20)
    made = folder_of(engine, path, data)
    weights = {name: value.copy() for name, value in export.weights(engine).items()}
    for name, factor in (("head.weight", 5), ("label", 10), ("target", 10)):
        weights[name] *= np.float32(factor)
    (made / model_object.FILE).write_bytes(model_object.encode(weights, []))
    (made / folder.LOADER.name).write_bytes(folder.LOADER.read_bytes())
    return made


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pulled")
    return {
        "known": pulled(root / "known"), "unseen": pulled(root / "unseen", unseen()),
        "features": pulled(root / "features", featured()),
        "plain": pulled(root / "plain", composition="off"),
    }  # fmt: skip


def condition(opened: model_file.Opened, target: str = "", label: str = "") -> Condition:
    kind = "sequence" if target in (ALIKE, APART) else "target"
    return told.conditions(opened, label, told.Options(**{kind: target}))[0][1]


def both(where: Path, seed: int, number: int, **wanted: Any) -> tuple[list[str], list[str]]:
    """Peptides that the loader and Mimir draw."""
    model, opened = loader.Model.load(where), model_file.from_folder(where)
    named = {name: wanted.pop(name) for name in ("target", "label") if name in wanted}
    one = model.sample(model.told(**named), number, seed=seed, **wanted)
    asked = condition(opened, **named)
    weights = opened.vocabulary.lengths.weights(asked.label, asked.target)
    draw = sampling.Draw(asked, seed=seed, **wanted)
    return one, sampling.sample(opened.model, number, draw, weights)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("known", each) for each in DRAWN]
    + [(kind, each) for kind in ("unseen", "features", "plain") for each in DRAWN[3:7]],
    ids=str,
)
def test_the_same_peptides(folders: dict[str, Path], kind: str, wanted: dict[str, Any]) -> None:
    if wanted.get("target") in (ALIKE, APART) and kind in ("features", "plain"):
        with pytest.raises(loader.Wrong, match="cannot compare sequences"):
            loader.Model.load(folders[kind]).told(wanted["target"])
        return
    one, two = both(folders[kind], 7, 150, **wanted)
    assert one == two
    assert len(set(one)) > 100


@pytest.mark.parametrize("wanted", [{"label": "background"}, {"target": "P00001"}], ids=str)
def test_the_same_peptides_where_no_length_is_known(
    folders: dict[str, Path], tmp_path: Path, wanted: dict[str, Any]
) -> None:
    """As of data with pairs only, whose background has none."""
    made = Path(shutil.copytree(folders["known"], tmp_path / "m"))
    vocabulary = json.loads((made / "vocabulary.json").read_text())
    vocabulary["lengths"].update(background=[0] * 21)
    if "target" in wanted:
        vocabulary["lengths"].update(interacting=[0] * 21)
    (made / "vocabulary.json").write_text(json.dumps(vocabulary))
    one, two = both(made, 7, 150, **wanted)
    assert one == two
    assert {len(each) for each in one} == set(range(4, 21))


def test_conditions_matter(folders: dict[str, Path]) -> None:
    model, drawn = loader.Model.load(folders["known"]), []
    for target in ("", "P00000", "P00001", "P00002", ALIKE, APART):
        drawn.append(tuple(model.sample(model.told(target), 20)))
    assert len(set(drawn)) == 5
    assert drawn[0] == drawn[-1], "a sequence like none is no target"


@pytest.mark.parametrize("kind", ["known", "unseen", "features", "plain"])
@pytest.mark.parametrize("wanted", [{}, {"label": "background"}, {"target": "P00000"}], ids=str)
def test_the_same_scores(folders: dict[str, Path], kind: str, wanted: dict[str, str]) -> None:
    model, opened = loader.Model.load(folders[kind]), model_file.from_folder(folders[kind])
    scorer = Scorer(opened.model, SCORED, 12)
    whole = scorer.scores(condition(opened, **wanted)).nelbo.value
    assert model.nelbo(SCORED, model.told(**wanted)) == pytest.approx(whole, abs=1e-5)


def test_nothing_is_drawn_from_what_is_no_number(folders: dict[str, Path]) -> None:
    model = loader.Model.load(folders["known"])
    model._w["letter"].fill_(float("nan"))
    with pytest.raises(loader.Wrong, match="NaN or infinity"):
        model.sample(model.told("P00001"), 2)


@pytest.mark.long
def test_a_thousand_seeds(folders: dict[str, Path]) -> None:
    for seed in range(1000):
        one, two = both(folders["known"], seed, 10, **DRAWN[3 + seed % 4])
        assert one == two, seed


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--target", "P0000"], "not among the 3 of this model (near: P0000"),
        (["--target", "ACGT" * 9], "no sequence of a protein"),
        (["--target", "P00001", "--label", "background"], "targets go with interacting only"),
        (["--label", "both"], "label is one of background, interacting, any"),
        (["--number", "0"], "number is from 1"),
        (["--seed", "-1"], "seed from 0"),
        (["--temperature", "0"], "temperature is a positive number"),
        (["--guidance", "1e308"], "guidance from -1000 to 1000"),
        (["--guidance", "nan"], "guidance from -1000 to 1000"),
        (["--pattern", "A.B."], "pattern has 4 to 20 of"),
        (["--score", "ACD"], "'ACD' is no peptide of 4 to 20"),
        (["--score", ""], "'' is no peptide of 4 to 20"),
        (["--score", "ACDE", "--seed", "3"], "--seed has no effect with --score"),
        (["--repeats", "3"], "--repeats has no effect without --score"),
        (["--model", "/nowhere"], "/nowhere holds no whole pulled model"),
    ],
)
def test_wrong_words(
    folders: dict[str, Path], words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        loader.main(["--model", str(folders["known"]), *words])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["config.json", "vocabulary.json", "model.safetensors", "targets.safetensors"]
)
def test_a_damaged_folder(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    made = Path(shutil.copytree(folders["known"], tmp_path / "m"))
    content = (made / name).read_bytes()
    (made / name).write_bytes(content[:40])
    with pytest.raises(loader.Wrong, match="holds no whole pulled model"):
        loader.Model.load(made)
    if name == "model.safetensors":
        tensors = safetensors.numpy.load(content)
        for other in ({"label": tensors["label"][:2]}, {"head.bias": tensors["head.bias"][:9]}):
            (made / name).write_bytes(safetensors.numpy.save({**tensors, **other}))
            with pytest.raises(loader.Wrong, match="holds no whole pulled model"):
                loader.Model.load(made)
    if name == "config.json":
        (made / name).write_bytes(re.sub(rb'"heads": \d+', b'"heads": 0', content))
        with pytest.raises(loader.Wrong, match="holds no whole pulled model"):
            loader.Model.load(made)
    if name.endswith(".json"):
        (made / name).write_bytes(b"\xff\xfe" + content)
        with pytest.raises(loader.Wrong, match="holds no whole pulled model"):
            loader.Model.load(made)
        (made / name).write_bytes(re.sub(rb'"format": \d', b'"format": 9', content))
        with pytest.raises(loader.Wrong, match=f"{name} has another format"):
            loader.Model.load(made)


def linked(path: Path) -> Path:
    """A folder with torch, safetensors and what torch needs itself, and no other package."""
    path.mkdir()
    left, seen, site = (
        ["torch", "safetensors", "packaging"],
        set[str](),
        sysconfig.get_path("purelib"),
    )
    while left:
        name = re.split(r"[^\w.-]", left.pop())[0]
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform
        needs = found.requires or []
        left += [each for each in needs if name == "torch" and "extra ==" not in each]
        left += [each for each in needs if name not in ("torch", "safetensors") and ";" not in each]
        for top in {Path(file).parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if (Path(site) / top).exists() and not (path / top).is_symlink():
                (path / top).symlink_to(Path(site) / top)
    return path


def outside() -> Iterator[str]:
    yield "import runpy, sys"
    yield "sys.path = [each for each in sys.path if 'site-packages' not in each] + [sys.argv[1]]"
    yield "file = sys.argv[2]"
    yield "for name in ('mimir', 'launch', 'numpy', 'yaml'):"
    yield "    try: __import__(name)"
    yield "    except ModuleNotFoundError: continue"
    yield "    raise SystemExit(f'{name} is there')"
    yield "for words in sys.argv[3:]:"
    yield "    sys.argv = [sys.argv[0], *words.split()]"
    yield "    runpy.run_path(file, run_name='__main__')"


@pytest.mark.slow
def test_without_mimir(folders: dict[str, Path], tmp_path: Path) -> None:
    where, packages = folders["known"], linked(tmp_path / "packages")
    done = subprocess.run(
        [
            sys.executable, "-I", "-S", "-c", "\n".join(outside()), str(packages),
            str(where / "peptides.py"), f"--target {ALIKE} --number 70 --seed 5",
            f"--score {','.join(SCORED[:2])} --target P00002",
        ],
        cwd=tmp_path, text=True, capture_output=True, check=False, timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines, model = done.stdout.splitlines(), loader.Model.load(where)
    assert lines[:70] == both(where, 5, 70, target=ALIKE)[1]
    nats = model.nelbo(SCORED[:2], model.told("P00002"))
    assert lines[70:] == [f"{one}\t{each:.6f}" for one, each in zip(SCORED, nats, strict=False)]


def test_the_file_is_short() -> None:
    assert len(folder.LOADER.read_text().splitlines()) < 300
