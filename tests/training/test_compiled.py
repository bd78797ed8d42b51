"""What was compiled and is not used any more is removed, whole, and nothing else is."""

import os
import time
from pathlib import Path

import pytest

from mimir.training import compiled, compiler

DAY = 86400.0
FOLDERS = ("triton/AAAA", "torch/triton/0/BBBB", "torch/fxgraph/yu/fyuf", "torch/aotautograd/ayzp")


def entry(path: Path, days: float, read: float | None = None) -> Path:
    """A folder with two files, or one file if its name has an ending, of so many days ago."""
    files = [path] if path.suffix else [path / "kernel.cubin", path / "__grp__kernel.json"]
    now = time.time()
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
        os.utime(file, (now - DAY * (days if read is None else read), now - DAY * days))
    return path


def look(folder: Path) -> int:
    (folder / "looked-at").unlink(missing_ok=True)
    return compiled.remove_unused(folder)


def test_what_nobody_used_for_a_month_is_removed_and_all_else_stays(tmp_path: Path) -> None:
    old = [entry(tmp_path / name, 31) for name in FOLDERS]
    old += [entry(tmp_path / "torch" / "bh" / name, 31) for name in ("cbha.py", "cbha.main.so")]
    used = [
        *(entry(tmp_path / f"{name}_new", 29) for name in FOLDERS),
        *(entry(tmp_path / f"{name}_read", 90, read=1) for name in FOLDERS),
        entry(tmp_path / "torch" / "bh" / "cnew.py", 2),
        entry(tmp_path / "torch" / "bh" / "cread.py", 90, read=29),
        entry(tmp_path / "torch" / "locks" / "c3g2.lock", 90),
        entry(tmp_path / "torch" / "precompiled_headers" / "cvzm.h", 90),
        entry(tmp_path / "somebodys" / "own.txt", 90),
    ]
    half = entry(tmp_path / "triton" / "HALF", 90)
    os.utime(half / "kernel.cubin")  # one file that is used keeps the whole
    left = entry(tmp_path / "removed-x" / "0.py", 31).parent  # a process that was killed
    assert look(tmp_path) == len(old) + 1
    assert [path for path in (*old, left) if path.exists()] == []
    assert [path for path in (*used, half / "__grp__kernel.json") if not path.exists()] == []
    assert not list(tmp_path.glob("removed-*"))
    assert look(tmp_path) == 0


def test_once_a_day_and_not_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {compiler.KEPT: str(tmp_path / "own")}
    assert compiler.keep(environ) == ""
    entries = [entry(tmp_path / "own" / "triton" / f"K{n}", 31) for n in range(5)]
    assert compiler.keep({compiler.KEPT: str(tmp_path / "own")}) == ""
    assert all(path.exists() for path in entries), "looked at a moment ago"
    stamp = tmp_path / "own" / "looked-at"
    yesterday = time.time() - 1.1 * DAY
    os.utime(stamp, (yesterday, yesterday))
    monkeypatch.setattr(compiled, "AT_MOST", 2)
    assert compiler.keep({compiler.KEPT: str(tmp_path / "own")}) == ""
    assert sum(path.exists() for path in entries) == 3
    assert look(tmp_path / "own") == 2


def test_entries_that_others_remove_meanwhile_hinder_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (entry(tmp_path / "triton" / name, 31) for name in "AB")
    real = compiled._used

    def raced(path: Path) -> float:
        seen = real(path)
        if path == one:
            path.rename(tmp_path / "elsewhere")
            assert real(path) == float("inf")
        return seen

    monkeypatch.setattr(compiled, "_used", raced)
    assert look(tmp_path) == 1
    assert not other.exists()


def test_a_folder_that_cannot_be_read_or_written_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = entry(tmp_path / "triton" / "A", 31)

    def refused(*words: object, **more: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiled.tempfile, "mkdtemp", refused)
    assert look(tmp_path) == 0
    assert kept.exists()
    assert compiled.remove_unused(tmp_path / "none") == 0
