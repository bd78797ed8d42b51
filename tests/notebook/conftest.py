"""A run with a checkpoint, and a folder in the place of Drive."""

from pathlib import Path

import pytest

from mimir.notebook.drive import Folder
from mimir.runs.store import Store, open_store
from tests.e2e import jobs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jobs.write_data(tmp_path_factory.mktemp("data") / "data.csv", 60)


@pytest.fixture
def store(tmp_path: Path, data: Path) -> Store:
    """A run with a checkpoint."""
    opened = open_store((tmp_path / "store").as_uri())
    jobs.submit(opened, "run", data)
    commit(opened)
    return opened


def commit(store: Store) -> None:
    jobs.train(store, "run", 2)


class There:
    """The folder on Drive as a session sees it, at a time that the test sets."""

    def __init__(self, path: Path, session: Path) -> None:
        self.said: list[str] = []
        self.now = 1e6
        self.path, self.session = path, session
        session.mkdir(parents=True, exist_ok=True)
        self.folder = self.opened()

    def opened(self) -> Folder:
        """As a session finds it that begins now."""
        return Folder(self.path, "run", self.session, self.said.append, lambda: self.now)

    def steps(self) -> list[int]:
        return [mark.step for mark in self.folder.archives()]


@pytest.fixture
def there(tmp_path: Path) -> There:
    return There(tmp_path / "drive" / "run", tmp_path / "session")
