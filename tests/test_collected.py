"""Every process finds the same tests: those that run side by side end at once where two differ."""

import difflib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Names that come from the time (of a gzip header, say), from the order of a set or from random
# numbers are not the same in two processes, or are so by chance only.
LATER = """
import sys, time
clock = time.time
time.time = lambda: clock() + float(sys.argv[1])
import pytest
asked = ["--collect-only", "-q", "-p", "no:cacheprovider", "-o", "addopts="]
sys.exit(pytest.main([*asked, *sys.argv[2:]]))
"""


def _names(seed: int, *paths: str | Path) -> list[str]:
    """The tests that a process finds whose clock and whose hashes are of its own."""
    command = [sys.executable, "-c", LATER, str(1e5 * seed), *map(str, paths)]
    environ = {**os.environ, "PYTHONHASHSEED": str(seed)}
    found = subprocess.run(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, timeout=600
    )
    assert found.returncode == 0, found.stdout[-2000:]
    return [line for line in found.stdout.splitlines() if "::" in line]


def test_two_processes_find_the_same_tests() -> None:
    first, second = (_names(seed, "tests") for seed in (1, 2))
    assert len(first) > 100
    assert list(difflib.unified_diff(first, second, lineterm="", n=0)) == []


def test_names_from_the_clock_and_from_a_set_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "test_it.py"
    for values in ("[gzip.compress(b'')]", "sorted({*'abcdefgh'}, key=hash)", "[random.random()]"):
        path.write_text(
            "import gzip, random, pytest\n"
            f"@pytest.mark.parametrize('x', {values})\n"
            "def test_it(x): pass\n"
        )
        assert _names(1, path) != _names(2, path), values
