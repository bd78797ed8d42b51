"""The register: at each moment of a write, and under seeded interleavings of several writers."""

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimir.errors import Conflict, StoreError
from mimir.runs import file_names
from mimir.runs.file_folder import Name, open_folder
from mimir.runs.file_store import FileStore
from tests.runs.conftest import name_at, versions_at
from tests.runs.moments import Schedule, Sleeper, overtaken, watched
from tests.waiting import unless_it_hangs

KEY = "run/HEAD"


@pytest.fixture(autouse=True)
def _watched() -> Iterator[None]:
    with watched():
        yield


def add(store: FileStore, mark: str, key: str = KEY) -> None:
    """Add a mark by a swap, as often as it takes."""
    while True:
        found = store.read(key)
        assert found is not None
        try:
            store.compare_and_swap(key, found.data + f" {mark}".encode(), found.version)
            return
        except Conflict:
            continue


def marks(root: Path, key: str = KEY) -> list[str]:
    found = FileStore(root).read(key)
    assert found is not None
    return found.data.decode().split()


def history(root: Path, key: str = KEY) -> list[list[str]]:
    """Marks of each version that lies there."""
    with versions_at(root / key) as versions:
        return [versions.body(n + 1).decode().split() for n in range(versions.newest())]


def collect(root: Path, now: float) -> None:
    with open_folder(root, ()) as top:
        file_names.collect(top, now)


def begun(root: Path, swaps: int) -> FileStore:
    store = FileStore(root)
    store.put_if_absent(KEY, b"start")
    for n in range(swaps):
        add(store, f"before{n}")
    return store


@pytest.mark.parametrize("known", [0, 1, 5, 40])
def test_the_newest_is_found_from_wherever_one_begins(tmp_path: Path, known: int) -> None:
    for number in range(1, 41):
        (tmp_path / ".x.versions").mkdir(exist_ok=True)
        (tmp_path / ".x.versions" / str(number)).touch()
        with versions_at(tmp_path / "x", known) as versions:
            assert versions.newest() == number


def test_a_search_takes_few_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Name] = []
    monkeypatch.setattr(
        file_names, "exists", lambda name: bool(looks.append(name)) or int(name.name) <= 9_000
    )
    (tmp_path / ".x.versions").mkdir()
    with versions_at(tmp_path / "x") as versions:
        assert versions.newest() == 9_000
        assert len(looks) < 40
        looks.clear()
        assert versions.newest() == 9_000
        assert len(looks) < 4


def test_what_is_left_is_looked_for_without_a_look_at_each_version(
    tmp_path: Path, way: str
) -> None:
    """Each look is a question to the server of a network file system, and a run has thousands of
    versions: they would hold up the first write of each command."""
    calls: dict[int, int] = {}
    for versions in (3, 40):
        root = tmp_path / str(versions)
        begun(root, versions)
        left = root / "run" / ".HEAD.versions" / f"{file_names.TEMPORARY}{'f' * 12}-1-x"
        left.write_bytes(b"half")
        calls[versions] = 0

        def count(_: int, versions: int = versions) -> None:
            calls[versions] += 1

        with overtaken(count):
            collect(root, left.stat().st_mtime + file_names.TEMPORARY_LIVES + 1)
        assert not left.exists()
    assert calls[3] == calls[40]


ACTS: dict[str, tuple[int, Callable[[FileStore], object]]] = {
    "first swap": (0, lambda store: add(store, "late")),
    "later swap": (3, lambda store: add(store, "late")),
    "create": (1, lambda store: store.put_if_absent("run/late", b"late")),
    "content": (1, lambda store: store.put_content("run/late", b"late")),
    "overwrite": (1, lambda store: store.put(KEY, b"start late")),
    "read": (2, lambda store: store.read(KEY)),
    "list": (2, lambda store: list(store.list("run/"))),
}


@pytest.mark.parametrize("act", ACTS)
def test_who_is_stopped_at_any_moment_delays_nobody(tmp_path: Path, way: str, act: str) -> None:
    swaps, late = ACTS[act]
    moment, asleep = 0, True
    while asleep:
        root = tmp_path / str(moment)
        begun(root, swaps)
        sleeper = Sleeper(lambda root=root: late(FileStore(root)), moment)

        def others(root: Path = root) -> None:
            store = FileStore(root)
            for n in range(3):
                add(store, f"other{n}")
            store.put_if_absent("run/other", b"x")
            store.put_content("run/content", b"x")
            assert {KEY, "run/content", "run/other"} <= {*store.list("run/")}

        unless_it_hangs(others)
        asleep = sleeper.asleep
        result = sleeper.wake()
        assert not isinstance(result, BaseException), f"at moment {moment}: {result!r}"
        found = marks(root)
        if act == "overwrite":
            assert found[-1] == "late" or found[-3:] == ["other0", "other1", "other2"]
        else:
            assert found.count("late") == ("swap" in act)
            assert [mark for mark in found if mark.startswith("other")] == [
                "other0", "other1", "other2",
            ]  # fmt: skip
            for older, newer in zip(history(root), history(root)[1:], strict=False):
                assert newer[:-1] == older
        assert not list(root.rglob(f"{file_names.TEMPORARY}*"))
        moment += 1
    assert moment > 2


@pytest.mark.parametrize("act", ACTS)
def test_who_is_killed_at_any_moment_leaves_a_whole_store(
    tmp_path: Path, way: str, act: str
) -> None:
    swaps, late = ACTS[act]
    moment, asleep = 0, True
    while asleep:
        root = tmp_path / str(moment)
        begun(root, swaps)
        sleeper = Sleeper(lambda root=root: late(FileStore(root)), moment)
        asleep = sleeper.asleep
        sleeper.kill()
        store = FileStore(root)
        assert store.read("run/late") is None or store.get("run/late") == b"late"
        assert {KEY} <= {*store.list("")} <= {KEY, "run/late"}
        if act != "overwrite":
            assert marks(root)[: swaps + 1] == ["start", *(f"before{n}" for n in range(swaps))]
        add(store, "next")
        assert marks(root)[-1] == "next"
        later = (root / KEY).stat().st_mtime + file_names.TEMPORARY_LIVES + 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(file_names.os, "getpid", lambda: 1)  # of a computer's next process
            collect(root, later)
        assert not list(root.rglob(f"{file_names.TEMPORARY}*"))
        moment += 1


@pytest.mark.parametrize("swaps", [0, 4])
def test_a_swap_that_sleeps_while_the_run_is_removed_and_begun_anew(
    tmp_path: Path, way: str, swaps: int
) -> None:
    """It may be told anything but that it won, or it won before; the new run does not see it."""
    moment, asleep = 0, True
    while asleep:
        root = tmp_path / str(moment)
        store = begun(root, swaps)
        old = store.read(KEY)
        assert old is not None
        sleeper = Sleeper(
            lambda root=root, old=old: FileStore(root).compare_and_swap(KEY, b"late", old.version),
            moment,
        )
        if asleep := sleeper.asleep:
            others = FileStore(root)
            others.delete(KEY)
            assert others.read(KEY) is None
            others.put_if_absent(KEY, b"anew")
            for n in range(moment % 8):  # fewer, as many and more versions than there were
                add(others, f"new{n}")
            # Perhaps another first swap of the new object stops as well, just after its folder.
            half = Sleeper(lambda root=root: add(FileStore(root), "half"), 1, "open")
            sleeper.wake()
            half.wake()
            assert marks(root) == ["anew", *(f"new{n}" for n in range(moment % 8)), "half"]
            add(FileStore(root), "last")
            assert marks(root)[-1] == "last"
            with name_at(root / KEY) as name, file_names.open_body(name) as copy:
                assert copy.read().split()[-1] == b"last"
        moment += 1


@pytest.mark.parametrize("swaps", [0, 2])
def test_what_is_deleted_stays_deleted(tmp_path: Path, way: str, swaps: int) -> None:
    """Whichever of a swap and a deletion stops in its middle while the other one goes on."""
    for sleeps in ("delete", "swap"):
        moment, asleep = 0, True
        while asleep:
            root = tmp_path / sleeps / str(moment)
            begun(root, swaps)

            def swap(root: Path = root) -> None:
                store = FileStore(root)
                found = store.read(KEY)
                with contextlib.suppress(Conflict, StoreError):
                    store.compare_and_swap(KEY, b"late", found.version if found else "1-x")

            def delete(root: Path = root) -> None:
                FileStore(root).delete(KEY)

            first, second = (delete, swap) if sleeps == "delete" else (swap, delete)
            sleeper = Sleeper(first, moment)
            if asleep := sleeper.asleep:
                second()
                assert not isinstance(sleeper.wake(), BaseException)
                store = FileStore(root)
                assert store.read(KEY) is None
                assert list(store.list("")) == []
                store.put_if_absent(KEY, b"anew")
                add(store, "next")
                assert marks(root) == ["anew", "next"]
            moment += 1


@pytest.mark.parametrize(("kill", "seeds"), [(0.0, range(25)), (0.01, range(25, 50))])
def test_no_interleaving_loses_a_swap(tmp_path: Path, way: str, kill: float, seeds: range) -> None:
    for seed in seeds:
        root = tmp_path / str(seed)
        begun(root, seed % 3)
        schedule = Schedule(seed, kill)
        won: list[str] = []

        def swapper(name: int, root: Path = root, won: list[str] = won) -> None:
            store = FileStore(root)
            for n in range(3):
                add(store, f"{name}.{n}")
                won.append(f"{name}.{n}")

        def bystander(root: Path = root) -> None:
            store = FileStore(root)
            seen = 0
            for n in range(3):
                store.put_content(f"run/content{n}", b"x")
                collect(root, random.Random(n).uniform(0, 2e9))
                now = len(marks(root))
                assert now >= seen, "a reader went back"
                seen = now

        for name in range(3):
            schedule.add(lambda name=name: swapper(name))
        schedule.add(bystander)
        schedule.play()
        found = marks(root)
        assert len(set(found)) == len(found)
        assert set(won) <= set(found), f"seed {seed}: swaps were lost"
        if not kill:
            assert len(found) == 1 + seed % 3 + 9
        for older, newer in zip(history(root), history(root)[1:], strict=False):
            assert newer[:-1] == older


def test_one_of_many_creators_wins_in_each_interleaving(tmp_path: Path, way: str) -> None:
    for seed in range(25):
        store = FileStore(tmp_path / str(seed))
        schedule = Schedule(seed)
        won: list[bytes] = []

        def create(body: bytes, store: FileStore = store, won: list[bytes] = won) -> None:
            try:
                store.put_if_absent(KEY, body)
                won.append(body)
            except Conflict:
                assert store.read(KEY) is not None

        for name in range(4):
            schedule.add(lambda name=name: create(b"%d" % name))
        schedule.play()
        assert [store.get(KEY)] == won
