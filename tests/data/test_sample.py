import csv
import io
from pathlib import Path

from mimir.data import sample_path, sidecar, similar
from mimir.data.pack import TRAIN, load, pack
from mimir.data.split import HELD_OUT, KNOWN, SELECTION, SELECTION_KNOWN, VALIDATION
from mimir.data.verify import verify


def test_the_sample_is_clean_and_small() -> None:
    report = verify(sample_path())
    assert report.problems == ()
    assert (report.background, report.pairs, report.targets) == (20_000, 3_039, 702)
    assert report.length_distance is not None
    assert report.length_distance < 0.001
    assert sample_path().stat().st_size < 600_000


def test_the_sample_holds_pdb_pairs_only() -> None:
    with sample_path().open() as file:
        pairs = {(r["sequence"], r["target"]) for r in csv.DictReader(file) if r["label"] == "1"}
    with sample_path().with_name("pairs.csv").open() as file:
        known = list(csv.DictReader(file))
    assert pairs == {(row["sequence"], row["target"]) for row in known}
    # No ELM: its terms forbid commercial use.
    assert {s for row in known for s in row["source"].split(";")} == {"pepinter", "pepnn"}


def test_the_sample_packs_with_its_groups(tmp_path: Path) -> None:
    out = tmp_path / "sample.safetensors"
    info = pack(sample_path(), out, progress=io.StringIO())
    assert info.grouping == "sidecar"
    counts = info.counts
    assert counts["validation_background"] + counts["selection_background"] == 200
    peptides = load(out)
    groups = sidecar.read(sample_path(), peptides.source, len(peptides))
    assert groups is not None
    sides = [set(groups[peptides.subset(part, 0)].tolist()) for part in (TRAIN, HELD_OUT)]
    assert not sides[0] & sides[1]
    # Of each kind and half there is enough to show whether the model knows its targets.
    kinds = [
        f"{half}_{kind}" for half in ("selection", "validation") for kind in ("pairs", "known")
    ]
    assert min(counts[kind] for kind in kinds) > 100
    all_of = similar.Peptide.of(peptides.tokens, peptides.offsets)
    selection, reported = (
        all_of.take(peptides.subset(parts, 1))
        for parts in ((SELECTION, SELECTION_KNOWN), (VALIDATION, KNOWN))
    )
    assert not similar.resembles(selection, reported).any()
    assert (info.sequences, len(peptides.vocabulary)) == (639, 702)
    unseen, known = info.baselines.pairs, info.baselines.known
    # What similar targets tell of unseen ones, and their own pairs of known ones.
    for baseline, gain in ((unseen, 0.005), (known, 0.05)):
        assert baseline is not None
        assert baseline.closed_form is not None
        assert baseline.closed_form < baseline.unigram - gain
    background = info.baselines.background
    assert background is not None
    assert 2.8 < background.markov2 < background.unigram < background.uniform
