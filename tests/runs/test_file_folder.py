"""A container that puts links into its run's folder, at any moment of the launcher's work there."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimir.errors import Conflict, Corrupt, MimirError
from mimir.runs.file_store import FileStore
from tests.runs.moments import overtaken, watched

FILES = ("x", "1", "2", "3", "HEAD", ".body", "late")
ACTS: dict[str, dict[str, Callable[[FileStore], object]]] = {
    "run/a0001": {
        "read": lambda store: store.read("run/a0001/x"),
        "put": lambda store: store.put("run/a0001/x", b"mine"),
        "put_content": lambda store: store.put_content("run/a0001/x", b"mine"),
        "put_if_absent": lambda store: store.put_if_absent("run/a0001/late", b"mine"),
        "delete": lambda store: store.delete("run/a0001/x"),
        "list": lambda store: sorted(store.list("run/a0001/")),
    },
    "run/a0001/x": {
        "get": lambda store: store.get("run/a0001/x"),
        "put": lambda store: store.put("run/a0001/x", b"mine"),
        "delete": lambda store: store.delete("run/a0001/x"),
    },
    "run/.HEAD.versions": {
        "read": lambda store: store.read("run/HEAD"),
        "swap": lambda store: swap(store),
        "put": lambda store: store.put("run/HEAD", b"mine"),
        "delete": lambda store: store.delete("run/HEAD"),
        "list": lambda store: sorted(store.list("run/")),
    },
    "run/HEAD": {"swap": lambda store: swap(store)},
}
"""What the launcher does, by the name in whose place the link is put."""
PAIRS = [(where, name) for where, acts in ACTS.items() for name in acts]


def swap(store: FileStore) -> None:
    found = store.read("run/HEAD")
    store.compare_and_swap("run/HEAD", b"mine", found.version if found else "1-x")


@pytest.fixture(autouse=True)
def _watched() -> Iterator[None]:
    with watched():
        yield


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the user's, with all the names that the store has."""
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(b"the user's")
    return folder


class Container:
    """What it can do in its run's folder: swap what lies at a place for a link, and back."""

    def __init__(self, outside: Path, root: Path, where: str) -> None:
        self.outside = outside
        self.store = FileStore(root)
        version = self.store.put_if_absent("run/HEAD", b"A")
        self.store.compare_and_swap("run/HEAD", b"B", version)
        self.store.put("run/a0001/x", b"X")
        self.at = self.store.root / where
        self.away = self.store.root / "run" / "away"
        self.to = self.outside if self.at.is_dir() else self.outside / "x"

    def link(self) -> None:
        if not self.at.is_symlink() and os.path.lexists(self.at):
            os.rename(self.at, self.away)
            os.symlink(self.to, self.at)

    def put_back(self) -> None:
        if self.at.is_symlink():
            os.unlink(self.at)
            os.rename(self.away, self.at)

    def reached_nothing(self, result: object) -> None:
        assert "user" not in repr(result)
        assert sorted(os.listdir(self.outside)) == sorted(FILES)
        for name in FILES:
            path = self.outside / name
            assert (path.read_bytes(), path.stat().st_nlink) == (b"the user's", 1)


def done(act: Callable[[FileStore], object], store: FileStore) -> object:
    try:
        return act(FileStore(store.root))
    except MimirError as error:
        return error


@pytest.mark.parametrize(("where", "name"), PAIRS)
def test_a_link_that_is_put_in_place_at_any_moment_leads_nowhere(
    tmp_path: Path, outside: Path, way: str, where: str, name: str
) -> None:
    """For one call, or until the end."""
    for calls in (1, 10**9):
        moment, over = 0, False
        while not over:
            container = Container(outside, tmp_path / f"{calls}.{moment}", where)
            over = True

            def others(number: int, container=container, first=moment, last=moment + calls) -> None:
                nonlocal over
                if number == first:
                    over = False
                    container.link()
                elif number == last:
                    container.put_back()

            with overtaken(others):
                result = done(ACTS[where][name], container.store)
            container.reached_nothing(result)
            moment += 1
        assert moment > 1


@pytest.mark.parametrize("where", ["run/a0001/x", "run/a0001", "run/a0001/log"])
def test_a_link_that_lies_there_is_told(tmp_path: Path, outside: Path, where: str) -> None:
    container = Container(outside, tmp_path / "store", "run/a0001/x")
    store, link = container.store, container.store.root / where
    (store.root / "run" / "a0001").rename(store.root / "run" / "a0002")
    link.parent.mkdir(parents=True, exist_ok=True)
    key = where if link.name == "x" else f"{where}/x"
    for act in (
        lambda: store.read(key), lambda: store.get(key), lambda: store.list(f"{key}/"),
        lambda: store.put_if_absent(key, b"other"), lambda: store.put(key, b"other"),
        lambda: store.put_content(key, b"other"), lambda: store.delete(key),
    ):  # fmt: skip
        if not link.is_symlink():  # the object's own name was written or deleted, and not its aim
            link.unlink(missing_ok=True)
            link.symlink_to(outside / "x" if link.name == "x" else outside)
        result = done(lambda _, act=act: act(), store)
        container.reached_nothing(result)
        if link.is_symlink():
            assert isinstance(result, Corrupt | Conflict)
            assert isinstance(result, Conflict) or "is a link, which Mimir never" in str(result)


@pytest.mark.parametrize("name", ["x", "x/.body", ".x.versions/1"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    store = FileStore(tmp_path)
    pipe = tmp_path / "run" / name
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    with pytest.raises(Corrupt, match="no plain file"):
        store.read("run/x")
