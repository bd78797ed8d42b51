"""Ten million rows in two gigabytes: minutes, so only in `make test-long`."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mimir.data.alphabet import N_STANDARD
from mimir.data.columns import HEADER
from mimir.data.peptides import load
from tests import ROOT
from tests.waiting import LIMIT

ROWS, PAIRS, TARGETS = 10_000_000, 35_000, 8_000
RESIDUES = 10_500_000
LETTERS = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", dtype=np.uint8)


def write_large(path: Path, rows: int, pairs: int) -> None:
    """Windows of 10 to 20 letters of random proteins, each of whose residues is in about fifteen
    of ten million, and pairs of 9 letters, in the proportions of the training guide's data set."""
    random = np.random.Generator(np.random.Philox(7))
    protein = LETTERS[random.integers(0, N_STANDARD, RESIDUES)]
    with path.open("wb") as file:
        file.write(HEADER.encode())
        for length in range(10, 21):
            count = (rows - pairs) // 11 + (length == 20) * ((rows - pairs) % 11)
            starts = random.permutation(RESIDUES - length)[:count]
            line = np.empty((count, length + 4), dtype=np.uint8)
            for at in range(length):
                line[:, at] = protein[starts + at]
            line[:, length:] = np.frombuffer(b",0,\n", dtype=np.uint8)
            file.write(line.tobytes())
        words = LETTERS[random.integers(0, N_STANDARD, (pairs, 9))]
        file.writelines(
            b"%s,1,T%d\n" % (word.tobytes(), number % TARGETS) for number, word in enumerate(words)
        )


@pytest.mark.long
def test_ten_million_rows_are_packed_in_two_gigabytes(tmp_path: Path) -> None:
    write_large(tmp_path / "large.csv", ROWS, PAIRS)
    code = (
        "import resource, runpy, sys\n"
        "try: runpy.run_module('mimir', run_name='__main__')\n"
        "finally: print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "data", "pack", "large.csv"], cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1"),
        capture_output=True, text=True, check=False, timeout=4 * LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.rsplit("peak", 1)[1])
    print(done.stdout, done.stderr)
    assert peak < 2e9
    assert len(load(tmp_path / "dataset.safetensors")) == ROWS
