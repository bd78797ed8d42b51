"""A full disk under a file store: training waits for space, and what was committed stays."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mimir.runs.begin import raise_attempt
from mimir.runs.status import read_head
from mimir.runs.store import Store, open_store
from tests.e2e import jobs
from tests.waiting import LIMIT, wait_for

# Read before the tests hide the caller's settings.
CI = os.environ.get("MIMIR_CI", "") == "1"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "mimir-test", str(folder)]
    try:
        mounted = (
            subprocess.run(command, capture_output=True, check=False, timeout=LIMIT).returncode == 0
        )
    except FileNotFoundError:
        mounted = False
    if not mounted:
        if CI:
            pytest.fail("CI must be able to mount a small disk")
        pytest.skip("a small disk cannot be mounted here: that takes root on Linux")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=LIMIT)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    words = ["dd", "if=/dev/zero", f"of={ballast}", "bs=4k"]
    done = subprocess.run(words, capture_output=True, check=False, timeout=LIMIT)
    assert b"No space left" in done.stderr
    return ballast


@pytest.mark.parametrize("patience", [0, 3])
def test_a_disk_that_fills_up(disk: Path, tmp_path: Path, patience: int) -> None:
    """Freed in time, the run goes on; not freed, it ends with 75 and its last checkpoint."""
    store = open_store((disk / "store").as_uri())
    jobs.submit(store, "run", jobs.write_data(tmp_path / "data.csv", 200), **jobs.ENDLESS)
    out = tmp_path / "out"
    process = jobs.worker(
        store, "run", raise_attempt(store, "run"), "--patience", str(patience), out=out
    )
    try:
        wait_for(lambda: read_head(store, "run").step > 0, "the first commit")
        ballast = fill(disk)
        wait_for(lambda: "free some space" in out.read_text(), "a complaint")
        if patience:
            assert process.wait(timeout=LIMIT) == 75
            assert "no checkpoint could be committed" in out.read_text()
            assert jobs.final_state(store, "run")
            return
        before = read_head(store, "run").step
        assert process.poll() is None
        ballast.unlink()
        wait_for(lambda: read_head(store, "run").step > before + 20, "commits with space again")
    finally:
        if process.poll() is None:
            jobs.kill(process)


def test_a_disk_that_is_full_for_a_while_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same without a disk of its own, and to the end."""
    store: Store = open_store((tmp_path / "store").as_uri())
    data = jobs.write_data(tmp_path / "data.csv", 50)
    for name in ("calm", "torn"):
        jobs.submit(store, name, data)
    assert jobs.train(store, "calm")[0]
    calls, fsync = 0, os.fsync

    def full(handle: int) -> None:
        nonlocal calls
        calls += 1
        # Two syncs are those of the claim; of a file's, for a folder's comes too late to refuse.
        if 12 <= calls < 18:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    done, said = jobs.train(store, "torn")
    assert done
    assert calls > 18
    assert any("not committed yet" in line or "free some space" in line for line in said), said
    jobs.assert_same(store, "torn", "calm")
