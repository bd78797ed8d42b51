"""A small synthetic proteome, made by arithmetic so that it is the same everywhere."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from mimir.data.alphabet import STANDARD
from mimir.data.draw import Draws


def protein(number: int, length: int) -> str:
    """A random-looking protein of the standard letters; the same for the same number."""
    return "".join(STANDARD[i] for i in Draws(number, 99).below(20, length).tolist())


@pytest.fixture
def inputs(tmp_path: Path) -> SimpleNamespace:
    """Paths `human`, `viral`, `pairs` of the inputs of a build, and a `folder` to write to.

    60 human and 40 viral proteins of 120 residues, 40 pairs over 20 targets.

    Human 0 and 1 and viral 0 share a stretch of 40 residues. Some peptides occur in proteins.
    """
    shared = protein(7, 40)
    human = [protein(100 + i, 120) for i in range(60)]
    viral = [protein(300 + i, 120) for i in range(40)]
    human[0] = shared + human[0][40:]
    human[1] = human[1][:80] + shared
    viral[0] = viral[0][:30] + shared + viral[0][70:]
    human[2] = human[2][:50] + "U" + human[2][51:]
    rows = []
    for i in range(40):
        length = 4 + i % 17
        rows.append((human[i][10 : 10 + length], f"P{i // 2:05d}"))
    paths = SimpleNamespace(
        human=tmp_path / "h.fasta",
        viral=tmp_path / "v.fasta",
        pairs=tmp_path / "p.csv",
        folder=tmp_path,
    )
    paths.human.write_text("".join(f">H{i} x\n{s[:60]}\n{s[60:]}\n" for i, s in enumerate(human)))
    paths.viral.write_text("".join(f">V{i}\n{s}\n" for i, s in enumerate(viral)))
    paths.pairs.write_text("sequence,target,source\n" + "".join(f"{s},{t},pdb\n" for s, t in rows))
    return paths
