"""Tables of samples, and their pictures."""

import re

from mimir.data.pack import TRAIN
from mimir.output import histogram, sample_tables
from mimir.output.likeness import texts
from mimir.output.quality import RANDOM, SAMPLES
from tests import toys


def test_targets_that_are_known_are_nearer_told_than_untold() -> None:
    data = toys.peptides(900)
    rows = data.subset(TRAIN, 1)
    own = {
        name: texts(data.tokens, data.offsets, rows[data.targets[rows] == target])
        for target, name in enumerate(data.vocabulary)
    }
    found = sample_tables.tables(data, ["ACDEFG"] * 30, {**own, "P99999": ["WWWW"]})
    assert {row.target for row in found.targets} == set(data.vocabulary)
    for row in found.targets:
        assert (row.pairs, row.samples) == (len(own[row.target]), len(own[row.target]))
        assert row.kl < 0.1 < 0.5 < row.kl_untold
        assert row.copies == 1
        assert row.length == row.length_of_pairs
    assert [row.name for row in found.properties] == list(sample_tables.PROPERTIES)
    for property in found.properties:
        assert property.distances[SAMPLES] > property.distances["held-out pairs"]
    shown = "\n".join(sample_tables.lines(found.as_json()))
    for word in (*data.vocabulary, SAMPLES, RANDOM, *sample_tables.PROPERTIES):
        assert word in shown
    assert max(map(len, shown.splitlines())) <= 120


def test_a_histogram_shows_shares() -> None:
    page = histogram.svg("a < b", [4, 4, 5, 9], [9, 9, 9, 9])
    assert 'aria-label="a &lt; b"' in page
    bars = [float(h) for h in re.findall(r'<rect [^>]*height="([\d.]+)"', page)]
    whole = histogram.HEIGHT - 38
    assert bars == [round(whole / 2, 1), round(whole / 4, 1), round(whole / 4, 1)]
    path = re.findall(r'class="drawn" d="([^"]+)"', page)[0]
    assert path.count("H") == 6  # a bin for each whole number
    assert ">4</text>" in page
    assert ">9</text>" in page
    assert "V20.0" in path  # all samples in one bin: the full height
    assert histogram.svg("x", [1.5], [1.5]).count("<rect") == 1
    assert histogram.svg("x", [-3.21, 4.4], [0.1]).count("<rect") == 2
