"""The model card of a pulled folder: what Hugging Face reads, and nothing that a machine chose."""

import re
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

from launch.report import card
from launch.report.download import Download, collect
from mimir.data import terms
from mimir.data.files import sha256
from mimir.runs.figures import FIGURES
from mimir.runs.record import read_run
from mimir.runs.store import Store
from tests.launch.report.made import STEPS, begun, train


def pulled(store: Store) -> Download:
    return collect(store, read_run(store, "run"), lambda *_: lambda done: None, lambda *_: None)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    return pulled(train(begun(tmp_path), done=True)).files


def test_the_card_of_a_finished_run(files: dict[str, bytes], tmp_path: Path) -> None:
    _, front, text = files[card.CARD].decode().split("---\n", 2)
    told = yaml.safe_load(front)
    assert (told["license"], told["metrics"]) == ("unknown", ["nelbo"])
    assert "datasets" not in told  # names on the hub, and ours is on none
    assert "peptides" in told["tags"]
    ((result,),) = [each["results"] for each in told["model-index"]]
    assert [each["name"] for each in result["metrics"]] == [
        f"{each.label}, nats per residue" for each in FIGURES
    ]
    of_best = 2.9 + 5 / (100 + 900)  # that of step 1,000 is lower
    assert result["metrics"][0]["value"] == pytest.approx(of_best, abs=1e-4)
    assert "with 3\nparameters" in text
    assert "The weights are the best, of step 900.\n" in text
    assert "--target P10000 --number 10" in text
    assert f"| {sha256(files['model.safetensors'])} |" in text
    assert "- The data: unknown: this data set is not Mimir's own" in text
    assert "Training is done" in text
    assert "What to cite for the data is unknown" in files[card.CITATION].decode()
    path = tmp_path / "m"
    for name in ("model.safetensors", "targets.safetensors"):
        path.write_bytes(files[name])
        with safe_open(path, "np") as found:
            assert found.metadata()["format"] == "pt"


def test_nothing_of_a_machine_is_obeyed(files: dict[str, bytes]) -> None:
    text = files[card.CARD].decode()
    assert "<script" not in text
    assert "<img" not in text
    assert "http" not in re.sub("`[^`]*`", "", text)  # what is left could be a link
    assert "\x1b" not in text
    assert b"told()" not in files["model.safetensors"]
    shown = card._shown("<b> [x](http://y) a|b `c` **d**\n# e")
    assert shown == r"&lt;b&gt; \[x\](`http://y`) a\|b \`c\` \*\*d\*\* \# e"
    assert card._shown("@f www.g\u202e&amp;") == r"&#64;f `www.g`\\u202e&amp;amp;"


@pytest.mark.parametrize(("told", "shown"), [
    ("UniProt, https://www.uniprot.org (CC BY)", "UniProt, `https://www.uniprot.org` (CC BY)"),
    ("see https://x.org/a_b?c=d#e.", "see `https://x.org/a_b?c=d#e`."),
    ("`http://x`", r"\``http://x`\`"),  # of the outer marks none opens a code span
    ("http://x|<img src=//y>", r"`http://x`\|&lt;img src=//y&gt;"),
    ("<http://x>", "&lt;`http://x`&gt;"),
    ("ftp://x a@b.org", "ftp&#58;//x a&#64;b.org"),
    ("http://", "http&#58;//"),
])  # fmt: skip
def test_an_address_is_shown_and_is_no_link(told: str, shown: str) -> None:
    assert card._shown(told) == shown


def test_the_card_of_a_run_that_goes_on(tmp_path: Path) -> None:
    """Without weights there is no model to describe."""
    assert card.CARD not in pulled(train(begun(tmp_path))).files
    some = card.Weights(3, "0" * 64, STEPS, -1, finished=False)
    assert some.words == f"the last, of step {STEPS:,}, of a run that is not finished"


def test_the_samples_terms_are_told() -> None:
    cited = "\n".join(terms.SAMPLE.citations)
    for word in ("CC BY 4.0", "CC0 1.0", "MIT licence", "uniprot.org"):
        assert word in cited
