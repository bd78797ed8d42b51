import dataclasses
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from mimir.data import files, sidecar, target_sequences
from mimir.data.alphabet import decode
from mimir.data.build import build
from mimir.data.pack import KNOWN, TRAIN, VALIDATION, PackInfo, groups_of, load, pack
from mimir.data.peptides import FORMAT, Peptides
from mimir.data.split import HELD_OUT, LEFT_OUT, SELECTION, SELECTION_KNOWN
from mimir.data.table import parse
from mimir.errors import BadInput, Corrupt


@pytest.fixture
def csv_path(inputs: SimpleNamespace) -> Path:
    out = inputs.folder / "d.csv"
    build(inputs.human, inputs.viral, inputs.pairs, out, rows=1040, progress=io.StringIO())
    return out


def _pack(csv_path: Path, name: str = "d.safetensors", **options: Any) -> tuple[PackInfo, Path]:
    out = csv_path.parent / name
    arguments = {"validation": 0.1, "validation_pairs": 0.2, **options}
    return pack(csv_path, out, progress=io.StringIO(), **arguments), out


def test_every_row_comes_back(csv_path: Path) -> None:
    info, out = _pack(csv_path)
    peptides = load(out)
    rows = [line.split(",") for line in csv_path.read_text().splitlines()[1:]]
    assert len(peptides) == len(rows) == info.counts["rows"]
    for i, (sequence, label, target) in enumerate(rows):
        assert decode(peptides.tokens[peptides.offsets[i] : peptides.offsets[i + 1]]) == sequence
        assert peptides.labels[i] == int(label)
        index = int(peptides.targets[i])
        assert (peptides.vocabulary[index] if index >= 0 else "") == target
    assert peptides.lengths.tolist() == [len(row[0]) for row in rows]
    assert peptides.digest == info.digest == files.sha256(out.read_bytes())
    assert peptides.source == files.sha256(csv_path.read_bytes())
    assert list(peptides.vocabulary) == sorted(peptides.vocabulary)
    assert peptides.baselines == info.baselines


def test_same_csv_same_bytes_other_seed_other_split(csv_path: Path) -> None:
    _, a = _pack(csv_path, "a")
    _, b = _pack(csv_path, "b")
    assert a.read_bytes() == b.read_bytes()
    _, c = _pack(csv_path, "c", seed=1)
    assert not np.array_equal(load(a).split, load(c).split)
    json.dumps(_pack(csv_path, "d")[0].as_json(), allow_nan=False)


def test_no_group_of_the_sidecar_is_on_both_sides(csv_path: Path) -> None:
    info, out = _pack(csv_path)
    peptides = load(out)
    groups = sidecar.read(csv_path, peptides.source, len(peptides))
    assert groups is not None
    assert info.grouping == "sidecar"
    held = peptides.subset(HELD_OUT, 0)
    sides = [set(groups[rows].tolist()) for rows in (peptides.subset(TRAIN, 0), held)]
    assert sides[1]
    assert not sides[0] & sides[1]
    # 1000 background rows in groups of about ten, 40 pairs in groups of two.
    counts = info.counts
    assert 90 <= counts["validation_background"] + counts["selection_background"] <= 100
    assert 6 <= counts["validation_pairs"] + counts["selection_pairs"] <= 8
    for half, most in (("selection", 0.5), ("validation", 1)):
        assert 0.4 <= counts[f"{half}_background"] / len(held) <= most


def test_without_a_sidecar_no_7mer_and_no_target_or_peptide_is_on_both_sides(
    csv_path: Path,
) -> None:
    sidecar.path_of(csv_path).unlink()
    info, out = _pack(csv_path)
    assert info.grouping == "sequence"
    peptides = load(out)
    texts = [
        decode(peptides.tokens[a:b])
        for a, b in zip(peptides.offsets[:-1], peptides.offsets[1:], strict=True)
    ]

    def words(*split: int) -> set[str]:
        return {
            texts[i][j : j + 7]
            for i in peptides.subset(split, label=0)
            for j in range(len(texts[i]) - 6)
        }

    assert words(VALIDATION)
    assert words(SELECTION)
    assert not words(TRAIN) & words(VALIDATION, SELECTION)
    assert not words(SELECTION) & words(VALIDATION)
    targets, named = peptides.targets, np.array(texts)
    parts = (TRAIN, (VALIDATION, SELECTION), (KNOWN, SELECTION_KNOWN))
    train, held, known = (set(targets[peptides.subset(part, 1)].tolist()) for part in parts)
    assert held
    assert not train & held
    assert known <= train
    train, held, known = (set(named[peptides.subset(part, 1)].tolist()) for part in parts)
    assert not train & (held | known)


def test_groups_by_sequence_are_of_background() -> None:
    text = "sequence,label,target\nACDEFGH,0,\nMKVLW,1,P1\nWACDEFGHW,0,\nGGGG,1,P1\nWWWWW,0,\n"
    table = parse(text.encode())
    assert table is not None
    assert groups_of(table).tolist() == [0, 0, 0, 0, 1]


def test_sidecar_of_another_csv_is_refused(csv_path: Path) -> None:
    csv_path.write_text(csv_path.read_text() + "WWWWWWWWWWWWWWWWWWWW,0,\n")
    with pytest.raises(BadInput, match=r"another version of d\.csv"):
        _pack(csv_path)


def test_damaged_sidecar(csv_path: Path) -> None:
    sidecar.write(csv_path, files.sha256(csv_path.read_bytes()), np.zeros(7, dtype=np.int32))
    with pytest.raises(Corrupt, match="one group for each of 1040 rows"):
        _pack(csv_path)
    sidecar.path_of(csv_path).write_bytes(b"nonsense")
    with pytest.raises(Corrupt, match="damaged"):
        _pack(csv_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ACD,0,\n", r"row 1041 \(line 1042\), column sequence: 3 letters"),
        ("ACDEFGHW,1,\nAC,0,\n", r"label 1 needs a target \(and 1 more\).*data verify"),
    ],
)
def test_unclean_csv_is_refused_with_its_first_problem(
    csv_path: Path, line: str, message: str
) -> None:
    csv_path.write_text(csv_path.read_text() + line)
    with pytest.raises(BadInput, match=message):
        _pack(csv_path)


@pytest.mark.parametrize("name", ["validation", "validation_pairs"])
@pytest.mark.parametrize("part", [-0.1, 1.0, float("nan")])
def test_parts_out_of_range(csv_path: Path, name: str, part: float) -> None:
    with pytest.raises(BadInput, match=f"^--{name.replace('_', '-')} is {part}, but must be"):
        _pack(csv_path, **{name: part})


def test_a_seed_out_of_range_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^--seed is -1, but must be from 0 to"):
        _pack(tmp_path / "none.csv", seed=-1)


def test_a_data_set_of_one_class_packs(tmp_path: Path) -> None:
    for text in ("ACDE,0,\nWWWW,0,\n", "ACDE,1,P1\nWWWW,1,P2\n"):
        path = tmp_path / "one.csv"
        path.write_text("sequence,label,target\n" + text)
        info, out = _pack(path, validation=0.5, validation_pairs=0.5)
        assert load(out).split.sum() == 1
        assert (info.baselines.background is None) == ("P1" in text)


def test_subset(csv_path: Path) -> None:
    peptides = load(_pack(csv_path)[1])
    parts = [peptides.subset(part) for part in (TRAIN, *HELD_OUT, LEFT_OUT)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(peptides)))
    pairs = peptides.subset(TRAIN, label=1)
    assert (peptides.labels[pairs] == 1).all()
    assert (peptides.split[pairs] == TRAIN).all()


def test_arrays_are_read_only_and_the_dataclass_frozen(csv_path: Path) -> None:
    peptides = load(_pack(csv_path)[1])
    with pytest.raises(ValueError, match="read-only"):
        peptides.tokens[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        peptides.digest = ""  # type: ignore[misc]
    assert isinstance(peptides, Peptides)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("tokens", np.zeros(5, dtype=np.int64), "tokens is int64"),
        ("tokens", np.array([0, 1, 2, 25, 0, 0, 0, 0], dtype=np.uint8), "token 25 is no letter"),
        ("tokens", np.zeros(9, dtype=np.uint8), "offsets run from 0 to 8 over 9 tokens"),
        ("offsets", np.array([0, 9, 8], dtype=np.int32), "peptides have -1 to 9 letters"),
        ("offsets", np.array([0, 3, 8], dtype=np.int32), "peptides have 3 to 5 letters"),
        ("offsets", np.array([0, 8], dtype=np.int32), "2 offsets for 2 labels"),
        ("offsets", np.array([[0, 4, 8]], dtype=np.int32), "offsets is int32"),
        ("labels", np.array([0, 2], dtype=np.uint8), "labels must be 0 or 1"),
        ("labels", np.array([0, 0], dtype=np.uint8), "a target without label 1"),
        ("split", np.array([0], dtype=np.uint8), "differ in length"),
        ("split", np.array([0, 6], dtype=np.uint8), "split from 0 to 5"),
        ("split", np.array([5, 0], dtype=np.uint8), "background is among the held-out pairs"),
        ("split", np.array([2, 0], dtype=np.uint8), "background is among the held-out pairs"),
        ("targets", np.array([-1, 1], dtype=np.int16), "targets run from -1 to 1"),
        ("extra", np.zeros(1, dtype=np.uint8), "it holds extra"),
    ],
)
def test_load_names_what_is_damaged(
    tmp_path: Path, name: str, value: np.ndarray, message: str
) -> None:
    good = tmp_path / "g.csv"
    good.write_text("sequence,label,target\nACDE,0,\nWWWW,1,P1\n")
    _, out = _pack(good)
    tensors, record = files.from_bytes(out.read_bytes(), out)
    load(out)
    out.write_bytes(files.to_bytes({**tensors, name: value}, record))
    with pytest.raises(Corrupt, match=message):
        load(out)


def test_load_refuses_other_formats(tmp_path: Path, csv_path: Path) -> None:
    _, out = _pack(csv_path)
    tensors, record = files.from_bytes(out.read_bytes(), out)
    again = "pack its CSV again"
    for change, error, says in (
        ({"format": FORMAT + 1}, BadInput, f"format {FORMAT + 1}.*newer Mimir"),
        ({"format": "1"}, Corrupt, "no format number"),
        ({"alphabet": "ACDE"}, BadInput, again),
        ({"targets": [1]}, Corrupt, again),
        ({"yardsticks": {"background": None}}, Corrupt, again),
        ({"yardsticks": {"background": {"x": 1}, "pairs": None, "known": None}}, Corrupt, again),
    ):
        out.write_bytes(files.to_bytes(tensors, {**record, **change}))
        with pytest.raises(error, match=says):
            load(out)
    with pytest.raises(BadInput, match="there is no packed data set"):
        load(tmp_path / "none")
    out.write_bytes(out.read_bytes()[:-3])
    with pytest.raises(Corrupt, match="damaged"):
        load(out)


def test_targets_have_the_sequences_that_the_build_left(csv_path: Path) -> None:
    info, out = _pack(csv_path)
    assert info.sequences == 0, "no target is among these proteins"
    names = load(out).vocabulary
    fasta = csv_path.parent / "own.fasta"
    fasta.write_text(f">{names[3]}\nMKVLAACD\n>X1\nWWWWW\n")
    info, out = _pack(csv_path, targets_fasta=fasta)
    described = load(out).described
    assert info.sequences == 1
    assert described.known.tolist() == [name == names[3] for name in names]
    assert described.sequence(3) == "MKVLAACD"
    fasta.rename(target_sequences.path_of(csv_path))
    assert _pack(csv_path)[0].digest == info.digest


def test_features_of_targets_are_packed_with_them(csv_path: Path) -> None:
    names = load(_pack(csv_path)[1]).vocabulary
    table = {name: np.full(3, i, np.float32) for i, name in enumerate(names)}
    features = csv_path.parent / "f.safetensors"
    save_file(table, features)
    info, out = _pack(csv_path, target_features=features)
    assert info.features == 3
    assert load(out).described.features[:, 0].tolist() == list(range(len(names)))
    del table[names[0]]
    save_file(table, features)
    with pytest.raises(BadInput, match=f"has no features of {names[0]};"):
        _pack(csv_path, target_features=features)


def test_what_is_held_out_has_no_say_in_a_composition(csv_path: Path) -> None:
    peptides = load(_pack(csv_path)[1])
    trained = peptides.subset(TRAIN, 1)
    own = peptides.composition.own
    assert own.sum() == peptides.lengths[trained].sum()
    held = peptides.targets[peptides.subset(VALIDATION, 1)]
    assert len(held)
    assert not own[held].any()


@pytest.mark.parametrize(
    ("tensor", "value", "said"),
    [
        ("target_offsets", np.zeros(3, np.int64), "3 offsets and"),
        ("target_tokens", np.array([1, 2], np.uint8), "do not fit their offsets"),
        ("target_features", np.full((20, 1), np.nan, np.float32), "not a finite number"),
    ],
)
def test_damaged_targets(csv_path: Path, tensor: str, value: Any, said: str) -> None:
    _, out = _pack(csv_path)
    tensors, record = files.from_bytes(out.read_bytes(), out)
    out.write_bytes(files.to_bytes({**tensors, tensor: value}, record))
    with pytest.raises(Corrupt, match=said):
        load(out)
