import subprocess
import sys

import pytest

from mimir.output import properties


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


def test_what_trains_does_without_biopython() -> None:
    """A rented machine has what it needs to train, and no more."""
    check = (
        "import sys\n"
        "import mimir.worker.attempt, mimir.output.export, mimir.checks.preflight_checks\n"
        "import mimir.output.model_file, mimir.notebook.cells, mimir.commands\n"
        "assert 'Bio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
