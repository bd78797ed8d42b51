"""Links are planted into a packed file by hand, one of each kind, and must be found."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mimir.data import commands, files, links, sidecar
from mimir.data.build import build
from mimir.data.links import Links
from mimir.data.pack import pack
from mimir.data.peptides import load
from mimir.data.split import KNOWN, SELECTION, SELECTION_KNOWN, TRAIN, VALIDATION
from mimir.errors import BadInput


@pytest.fixture
def csv_path(inputs: SimpleNamespace) -> Path:
    out: Path = inputs.folder / "d.csv"
    build(inputs.human, inputs.viral, inputs.pairs, out, rows=1040, progress=io.StringIO())
    return out


def _packed(csv_path: Path) -> Path:
    out = csv_path.with_suffix(".safetensors")
    pack(csv_path, out, validation=0.1, validation_pairs=0.2, progress=io.StringIO())
    return out


def _found(path: Path, csv_path: Path | None) -> Links:
    return links.verify_links(path, csv_path, io.StringIO())


class Rows:
    """The tensors of a packed file, and rows of them, to change."""

    def __init__(self, path: Path) -> None:
        self.tensors, self.record = files.from_bytes(path.read_bytes(), path)
        self.tensors = {name: array.copy() for name, array in self.tensors.items()}
        self.split, self.targets = self.tensors["split"], self.tensors["targets"]
        self.labels, self.offsets = self.tensors["labels"], self.tensors["offsets"]

    def row(self, part: int, label: int, fits: Callable[[int], bool] = lambda size: True) -> int:
        """The first row of a part whose length fits."""
        size = np.diff(self.offsets)
        rows = np.flatnonzero((self.split == part) & (self.labels == label))
        return next(row for row in rows.tolist() if fits(int(size[row])))

    def letters(self, row: int) -> np.ndarray:
        """Those of a row, as a view."""
        return self.tensors["tokens"][self.offsets[row] : self.offsets[row + 1]]

    def write(self, path: Path) -> None:
        path.write_bytes(files.to_bytes(self.tensors, self.record))


def a_word(rows: Rows) -> None:
    held = rows.letters(rows.row(VALIDATION, 1, lambda size: size >= 6))
    rows.letters(rows.row(TRAIN, 1, lambda size: size >= 12))[-6:] = held[:6]


def a_copy_with_gaps(rows: Rows) -> None:
    """Shifted by two, each third letter another: six of nine equal, no three in a row."""
    held = rows.letters(rows.row(VALIDATION, 1, lambda size: size >= 9))[:9].copy()
    held[::3] = (held[::3] + 1) % 20
    ours = rows.letters(rows.row(TRAIN, 1, lambda size: size == 11))
    ours[2:] = held


def a_word_in_both_halves(rows: Rows) -> None:
    held = rows.letters(rows.row(VALIDATION, 1, lambda size: size >= 6))
    rows.letters(rows.row(SELECTION_KNOWN, 1, lambda size: size >= 6))[-6:] = held[:6]


def a_target_in_both_halves(rows: Rows) -> None:
    rows.targets[rows.row(SELECTION, 1)] = rows.targets[rows.row(VALIDATION, 1)]


def a_short_within_a_held_out(rows: Rows) -> None:
    held = rows.letters(rows.row(VALIDATION, 1, lambda size: size >= 6))
    ours = rows.letters(rows.row(TRAIN, 1, lambda size: size < 6))
    ours[:] = held[1 : 1 + len(ours)]


def a_window(rows: Rows) -> None:
    held = rows.letters(rows.row(VALIDATION, 1, lambda size: size >= 6))
    rows.letters(rows.row(TRAIN, 0, lambda size: size >= 12))[6:12] = held[:6]


def a_target(rows: Rows) -> None:
    rows.targets[rows.row(TRAIN, 1)] = rows.targets[rows.row(VALIDATION, 1)]


def a_known_target_that_is_not(rows: Rows) -> None:
    rows.targets[rows.row(KNOWN, 1)] = rows.targets[rows.row(VALIDATION, 1)]


def a_group(rows: Rows) -> None:
    rows.split[rows.row(VALIDATION, 0)] = TRAIN


@pytest.mark.parametrize(("plant", "kind", "says"), [
    (a_word, "pairs", "share "), (a_copy_with_gaps, "pairs", "are equal in 6 of 9"),
    (a_word_in_both_halves, "halves", ", reported) share "),
    (a_target_in_both_halves, "targets", "selects, and is reported"),
    (a_short_within_a_held_out, "pairs", "lie one within the other"),
    (a_window, "windows", "share "), (a_target, "targets", "as unseen, and is trained"),
    (a_known_target_that_is_not, "targets", "as known, and is not trained"),
    (a_group, "groups", "background of both parts"),
])  # fmt: skip
def test_each_kind_of_link_is_found(
    csv_path: Path, plant: Any, kind: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _packed(csv_path)
    rows = Rows(path)
    plant(rows)
    rows.write(path)
    found = _found(path, csv_path)
    assert getattr(found, kind) == found.count == 1
    assert says in found.shown[0]
    with pytest.raises(BadInput, match="has 1 link between what is trained, what selects and what"):
        commands.verify(str(path), csv=str(csv_path))
    assert found.shown[0] in capsys.readouterr().out


def test_what_pack_makes_has_no_links(csv_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _packed(csv_path)
    found = _found(path, csv_path)
    assert (found.count, found.unchecked, found.digest) == (0, (), load(path).digest)
    assert found.held_pairs == found.selection_pairs + found.reported_pairs
    assert min(found.selection_pairs, found.reported_pairs) > 2
    assert min(found.held_pairs, found.held_background, found.training_pairs) > 5
    commands.verify(str(path))
    assert "not checked: protein clusters: give --csv" in capsys.readouterr().out
    sidecar.path_of(csv_path).unlink()
    path = _packed(csv_path)
    assert _found(path, None).unchecked == ()
    rows = Rows(path)  # by words of seven letters
    text = rows.letters(rows.row(VALIDATION, 0, lambda size: size >= 7))[:7]
    rows.letters(rows.row(TRAIN, 0, lambda size: size >= 7))[:7] = text
    rows.write(path)
    assert (_found(path, None).groups, _found(path, None).count) == (1, 1)


def test_very_many_pairs_are_said_to_be_compared_by_words_only(
    csv_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "MOST_ALIGNED", 39)
    assert "letter by letter" in _found(_packed(csv_path), csv_path).unchecked[0]


def test_the_csv_must_be_the_one_that_was_packed(csv_path: Path) -> None:
    path = _packed(csv_path)
    other = csv_path.with_name("other.csv")
    other.write_text("sequence,label,target\nACDE,0,\n")
    with pytest.raises(BadInput, match="packed from another CSV than"):
        _found(path, other)
    sidecar.path_of(csv_path).unlink()
    with pytest.raises(BadInput, match=r"there is no .*\.groups\.safetensors"):
        _found(path, csv_path)
    with pytest.raises(BadInput, match="--csv belongs to a packed file"):
        commands.verify(str(csv_path), csv=str(csv_path))
