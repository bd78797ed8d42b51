"""Google's own CLI, unchanged, against fakes of Colab's servers; tests/colab/run.sh prepares it."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from launch.providers.colab.provider import ColabProvider
from mimir.runs.store import Store, open_store
from tests.clouds.e2e.world import Command, Forks
from tests.colab.bucket import Bucket
from tests.colab.computer import Place, made
from tests.colab.servers import BEARER, Colab
from tests.waiting import LIMIT

# Read here: a test's own environment has none of these.
CLI = os.environ.get("COLAB_CLI_PATH", "")
RUNTIME = os.environ.get("MIMIR_COLAB_RUNTIME", "")
REQUIRED = os.environ.get("MIMIR_REQUIRE_COLAB", "") == "1"
KEYS = {
    "AWS_ACCESS_KEY_ID": "PLANTEDKEYID",
    "AWS_SECRET_ACCESS_KEY": "planted-secret-key",
    "AWS_SESSION_TOKEN": "planted-session-token",
}


@dataclass
class Account:
    """A user with a login, a fake of Colab, and a store. variables: what the user has set."""

    colab: Colab
    folder: Path
    bucket: Bucket
    store: Store
    provider: ColabProvider
    forks: Forks
    variables: tuple[str, ...] = ()
    commands: list[Command] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """What the provider leaves on this computer."""
        return self.folder / "state" / "mimir" / "colab"

    def launch(self, *words: str) -> Command:
        """A command of the launcher, in a process of its own, with what the user has set."""
        out = self.folder / f"command{len(self.commands)}"
        self.commands.append(launched(self.forks, out, self.store, self.variables, words))
        return self.commands[-1]


def launched(
    forks: Forks, out: Path, store: Store, variables: Iterable[str], words: Sequence[str]
) -> Command:
    """The launcher's command, with these variables as they are set here."""
    # A machine that is lost is gone from the list, where this is looked for more often: nobody need
    # wait for a silent one here.
    patches = {
        "launch.contract.deadlines:SILENT_FOR": LIMIT,
        "launch.contract.deadlines:BEGIN_WITHIN": LIMIT,
        "launch.providers.colab.provider:FRESH": 4.0,
    }  # fmt: skip
    env = {name: os.environ[name] for name in ("PATH", "HOME", "MPLCONFIGDIR", *variables)}
    env |= {"PATCHES": json.dumps(patches), "MIMIR_STORE": store.url}
    pid = forks.ask(words=words, env=env, folder=str(out.parent), out=str(out))
    assert pid
    return Command(forks, pid, out)


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Notes for fixtures whether their test has failed."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(scope="session")
def server() -> Iterator[Bucket]:
    bucket = Bucket("runs")
    yield bucket
    bucket.close()


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    door = Forks()
    yield door
    door.close()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    yield from made(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def program() -> str:
    """Google's CLI; a test that needs it is skipped, or fails where it must not be missing."""
    if CLI and RUNTIME:
        return CLI
    why = "Google's CLI and a Jupyter server are made ready by `make colab-test`"
    if REQUIRED:
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture
def account(
    program: str, server: Bucket, forks: Forks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Account]:  # fmt: skip
    home = tmp_path / "home"
    own = home / ".config" / "colab-cli"
    own.mkdir(parents=True)
    (own / "token.json").write_text(json.dumps(login()))
    colab = Colab(tmp_path / "colab", Path(RUNTIME))
    told = {
        "HOME": str(home), "XDG_STATE_HOME": str(tmp_path / "state"), "COLAB_CLI_PATH": program,
        "XDG_CACHE_HOME": str(tmp_path / "cache"), "MIMIR_COLAB_GPU": "cpu",
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL_STS": server.url,
        "OMP_NUM_THREADS": "1", **KEYS, **colab.environment(),
    }  # fmt: skip
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    name = "".join(c for c in request.node.name if c.isalnum())
    store = open_store(f"s3://runs/{name}?endpoint={server.url}&region=us-east-1")
    provider = ColabProvider(every=2.0, grace=LIMIT)
    user = Account(colab, tmp_path, server, store, provider, forks, tuple(told))
    yield user
    for command in user.commands:
        command.kill()
    colab.close()


def login() -> dict[str, Any]:
    """What the CLI keeps of a login. It has not expired, so that nothing renews it."""
    return {
        "token": BEARER, "refresh_token": "1//planted-refresh-token", "client_id": "id",
        "client_secret": "planted-client-secret", "token_uri": "https://oauth2.googleapis.com/token",
        "scopes": [], "expiry": "2099-01-01T00:00:00Z", "universe_domain": "googleapis.com",
        "account": "",
    }  # fmt: skip
