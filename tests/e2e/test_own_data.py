"""A data set of one's own, in the form in which the training guide's generator writes it."""

import csv
import json
from pathlib import Path

import pytest

from mimir.data import sample_path
from mimir.errors import DONE
from tests.e2e.test_bad_input import run


def write_as_the_guide(path: Path) -> None:
    """Each twelfth row of the sample: another order of columns, CR LF, sorted."""
    with sample_path().open(newline="") as file:
        rows = [(row["label"], row["target"], row["sequence"]) for row in csv.DictReader(file)][
            ::12
        ]
    with path.open("w", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow(["label", "target", "sequence"])
        sheet.writerows(sorted(row for row in rows if row[0] == "1"))
        sheet.writerows(sorted(row for row in rows if row[0] == "0"))


def test_the_guides_file_through_every_command(tmp_path: Path) -> None:
    write_as_the_guide(tmp_path / "dataset.csv")
    assert b"\r\n0,,A" in (tmp_path / "dataset.csv").read_bytes()
    store = ("--store", (tmp_path / "store").as_uri())

    def done(*words: str) -> str:
        ended = run("mimir", *words, cwd=tmp_path)
        assert ended.returncode == DONE, ended.stdout + ended.stderr
        return ended.stdout

    assert "all constraints hold" in done("data", "verify", "dataset.csv")
    packed = json.loads(done("data", "pack", "dataset.csv", "--validation", "0.1", "--json"))
    assert packed["grouping"] == "sequence"
    counts = packed["counts"]
    assert min(counts[f"validation_{kind}"] for kind in ("background", "pairs", "known")) > 2
    done(
        "train", "--preset", "smoke", "--run-name", "own", "--data", "dataset.safetensors",
        "--max-steps", "3", "--preflight", "off", "--eval-every", "0", "--threads", "1", *store,
    )  # fmt: skip
    words = ("--repeats", "1", "--samples", "8", "--json")
    figures = json.loads(done("evaluate", "--run", "own", *words, *store))
    background = figures["nelbo"]["background"]
    assert background["peptides"] == counts["validation_background"]
    # Three steps teach the model little, and rows that came sorted must not show in what it is
    # measured on: the composition of what is held out is that of what is trained.
    assert background["composition"] == pytest.approx(2.905, abs=0.03)
