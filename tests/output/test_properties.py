import sys

import pytest

from mimir.output import export, properties
from tests import toys


def test_known_peptides() -> None:
    """Charges by hand: a lysine adds one, an aspartate takes one away; GRAVY is a mean."""
    lysines, aspartates = properties.of("KKKK"), properties.of("DDDD")
    assert lysines is not None
    assert aspartates is not None
    assert 3.5 < lysines.charge < 4.2
    assert -4.5 < aspartates.charge < -3.5
    assert lysines.gravy == pytest.approx(-3.9)
    mixed = properties.of("AIAI")
    assert mixed is not None
    assert mixed.gravy == pytest.approx((1.8 + 4.5) / 2)
    assert aspartates.pi < 4.1 < 9.5 < lysines.pi
    assert properties.of("ACDX") is None
    assert properties.of_all(["ACDX", "KKKK"]) == [lysines]


def test_what_trains_does_without_biopython(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rented machine has what it needs to train, and no more."""
    monkeypatch.setitem(sys.modules, "Bio.SeqUtils.ProtParam", None)
    data, engine = toys.peptides(), toys.engine()
    with pytest.raises(ImportError):
        properties.of("KKKK")
    assert export.quality(engine, data)["samples_kl"] > 0
    assert len(export.draw_told(engine, data, 2)) == 3
