"""One folder on two mounts, as two computers of a cluster see it: bindfs, or what mounts it twice.

Locks do not reach from one such mount to the other: flock() lets two writers in at once there.
"""

import contextlib
import itertools
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimir.errors import Conflict
from mimir.runs import file_names
from mimir.runs.file_store import FileStore
from mimir.runs.store import Versioned
from tests import ROOT
from tests.runs.conftest import CI, versions_at, without_links
from tests.runs.moments import Sleeper, watched
from tests.runs.swapper import KEY, swap, tally
from tests.waiting import LIMIT, wait_for

DELAY = 2.0
"""Seconds by which a stopped process may delay a command of another one."""


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[list[Path]]:
    """Two mounts of one folder."""
    if shutil.which("bindfs") is None:
        if CI:
            pytest.fail("CI tests a shared folder too: tests/servers/bindfs.sh")
        pytest.skip("there is no bindfs: tests/servers/bindfs.sh installs it")
    shared = tmp_path / "shared"
    shared.mkdir()
    made: list[Path] = []
    try:
        for name in ("one", "other"):
            mount = tmp_path / name
            mount.mkdir()
            subprocess.run(["bindfs", str(shared), str(mount)], check=True, timeout=LIMIT)
            made.append(mount)
        yield made
    finally:
        for mount in made:
            subprocess.run(["fusermount", "-u", "-z", str(mount)], check=False, timeout=LIMIT)


@contextlib.contextmanager
def swappers(roots: list[Path], swaps: int, way: str) -> Iterator[list[subprocess.Popen[str]]]:
    """A process for each root, which swaps so often; all have begun to."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.runs.swapper", str(root), f"p{n}", str(swaps), way],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )
        for n, root in enumerate(roots)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "swapping\n"
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def begun(root: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    """The store, with the object in it that is swapped."""
    if way == "folder":
        without_links(monkeypatch)
    store = FileStore(root)
    store.compare_and_swap(KEY, b"{}", store.put_if_absent(KEY, b"created"))
    return store


def newest(root: Path) -> int:
    with versions_at(root / KEY) as versions:
        return versions.newest()


def race(mounts: list[Path], swaps: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four processes swap so often each, on two mounts, while others sleep, write and collect."""
    one, other = mounts
    store = begun(one, way, monkeypatch)
    oldest = store.read(KEY)
    assert oldest is not None
    with contextlib.ExitStack() as stack:
        stack.enter_context(watched())

        # Swaps of the very first version, of which one is just about to take its name.
        last = (0, "link") if way == "link" else (1, "rename")
        sleepers = [
            Sleeper(
                lambda: FileStore(other).compare_and_swap(KEY, b"late", oldest.version), *moment
            )
            for moment in ((0, ""), (3, ""), (0, "fsync"), last)
        ]
        assert all(sleeper.asleep for sleeper in sleepers)
        processes = stack.enter_context(swappers([one, one, other, other], swaps, way))
        seen: list[Versioned] = [oldest]
        for n in itertools.count():
            over = all(process.poll() is not None for process in processes)
            left = other / "run" / f"{file_names.TEMPORARY}{'f' * 12}-1-{n}"
            left.write_bytes(b"half")
            os.utime(left, (0, 0))
            reader = FileStore(mounts[n % 2])  # which also collects, at its first write
            reader.put_content(f"run/content{n % 3}", os.urandom(50_000))
            # Not looked at through the mount, which remembers it for a second.
            assert not (one.parent / "shared" / "run" / left.name).exists()
            for old in random.Random(n).sample(seen, min(3, len(seen))):
                if newest(one) > int(old.version.split("-")[0]):
                    with pytest.raises(Conflict):
                        reader.compare_and_swap(KEY, b"late", old.version)
            found = reader.read(KEY)
            assert found is not None
            assert int(found.version.split("-")[0]) >= int(seen[-1].version.split("-")[0])
            seen.append(found)
            if over:
                break
        assert [process.returncode for process in processes] == [0] * 4
        for sleeper in sleepers:
            assert isinstance(sleeper.wake(), Conflict)
    for mount in mounts:
        assert tally(FileStore(mount)) == {f"p{n}": swaps for n in range(4)}
        assert newest(mount) == 4 * swaps + 2
        assert not list(mount.rglob(f"{file_names.TEMPORARY}*"))


@pytest.mark.parametrize("way", ["link", "folder"])
def test_two_mounts_lose_no_swap(mounts: list[Path], way: str, monkeypatch) -> None:
    race(mounts, 30, way, monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize("way", ["link", "folder"])
def test_ten_thousand_swaps_on_two_mounts(mounts: list[Path], way: str, monkeypatch) -> None:
    race(mounts, 2_500, way, monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize("way", ["link", "folder"])
def test_a_process_stopped_at_two_hundred_moments(
    mounts: list[Path], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = mounts
    mine = begun(one, way, monkeypatch)
    rng = random.Random(0)

    def work() -> float:
        """What commands do; how long it took."""
        began = time.monotonic()
        store = FileStore(one)
        swap(store, "mine")
        store.put("run/a0001/heartbeat.json", b"{}")
        store.put_content("run/a0001/content", os.urandom(1 << 20))
        assert KEY in store.list("run/")
        return time.monotonic() - began

    # In turns with work beside a process that goes on: other things delay it too.
    beside: dict[str, list[float]] = {"working": [], "stopped": []}
    with swappers([other], 10**9, way) as (peer,):
        for _ in range(200):
            time.sleep(rng.uniform(0, 0.03))
            beside["working"].append(work())
            peer.send_signal(signal.SIGSTOP)
            beside["stopped"].append(work())
            peer.send_signal(signal.SIGCONT)
        assert peer.poll() is None
    found = {how: (statistics.median(took), max(took)) for how, took in beside.items()}
    print(f"seconds beside a process that is ..., median and most: {found}")
    assert found["stopped"][1] < found["working"][1] + DELAY
    wins = tally(mine)
    assert wins["mine"] == 400
    assert wins["p0"] > 20


@pytest.mark.long
def test_commands_while_a_process_is_stopped(mounts: list[Path], monkeypatch) -> None:
    """`runs` reads what a stopped process of another computer was about to change."""
    from tests.runs.ledger import begun as run_begun

    one, other = mounts
    run_begun(FileStore(one))
    begun(one, "link", monkeypatch)

    def took(act: Callable[[], object]) -> float:
        began = time.monotonic()
        act()
        return time.monotonic() - began

    def runs() -> None:
        subprocess.run(
            [sys.executable, "-m", "launch", "runs", "--store", one.as_uri()],
            cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=LIMIT,
        )  # fmt: skip

    usual = max(took(runs) for _ in range(3))
    with swappers([other], 10**9, "link") as (peer,):
        for _ in range(8):
            time.sleep(random.uniform(0, 0.03))
            peer.send_signal(signal.SIGSTOP)
            assert took(runs) < usual + DELAY
            peer.send_signal(signal.SIGCONT)


def test_nobody_waits_for_a_stopped_process(mounts: list[Path], monkeypatch) -> None:
    """A real one. Every moment at which it can stop: tests/runs/test_file_versions.py."""
    store = begun(mounts[0], "link", monkeypatch)
    done = threading.Event()
    with swappers([mounts[1]], 10**9, "link") as (peer,):
        peer.send_signal(signal.SIGSTOP)
        threading.Thread(target=lambda: (swap(store, "mine"), done.set()), daemon=True).start()
        wait_for(done.is_set, "a swap beside a stopped process")
        peer.send_signal(signal.SIGCONT)
    assert tally(store)["mine"] == 1
