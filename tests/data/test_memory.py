import io
from pathlib import Path

import pytest

from mimir.data import memory
from mimir.data.pack import pack
from mimir.errors import BadInput


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Files in which a system tells its memory; at first there are none."""
    paths = {"MEMINFO": tmp_path / "meminfo", "GROUP": tmp_path / "memory.max"}
    for name, path in paths.items():
        monkeypatch.setattr(memory, name, path)
    return paths


def test_what_is_free(told: dict[str, Path]) -> None:
    assert memory.available() is None
    told["MEMINFO"].write_text("MemTotal: 9000 kB\nMemAvailable:    3000 kB\n")
    assert memory.available() == 3000 * 1024
    for limit, free in (("max", 3_072_000), ("1000000", 1_000_000), ("99000000", 3_072_000)):
        told["GROUP"].write_text(limit + "\n")
        assert memory.available() == free


def test_pack_refuses_what_would_not_fit(told: dict[str, Path], tmp_path: Path) -> None:
    csv = tmp_path / "d.csv"
    csv.write_text("sequence,label,target\nACDE,0,\nWWWW,1,P1\n")
    told["MEMINFO"].write_text("MemAvailable: 1000 kB\n")
    with pytest.raises(BadInput, match=r"takes up to 130\.0 MB of memory, and 1\.0 MB are free"):
        pack(csv, tmp_path / "d.safetensors", progress=io.StringIO())
    told["MEMINFO"].unlink()
    pack(csv, tmp_path / "d.safetensors", progress=io.StringIO())


@pytest.mark.parametrize(("csv_bytes", "measured"), [
    (400_000, 125e6), (3_800_000, 135e6), (38_000_000, 475e6), (190_000_000, 1323e6),
])  # fmt: skip
def test_the_estimate_is_above_what_was_measured_and_not_far(
    csv_bytes: int, measured: float
) -> None:
    assert measured <= memory.needed(csv_bytes) < 1.4 * measured
