"""Google's own CLI, unchanged, against fakes of Colab's servers; tests/colab/run.sh prepares it."""

import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from launch.providers.base import AttemptSpec
from launch.providers.colab import ColabProvider
from mimir.runs.commit import raise_attempt
from mimir.runs.status import read_head
from mimir.runs.store import Store, open_store
from tests.colab.servers import BEARER, Colab

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
    """A user with a login, a fake of Colab, and a store."""

    colab: Colab
    folder: Path
    store: Store
    provider: ColabProvider
    records: list[dict[str, Any]] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """What the provider leaves on this computer."""
        return self.folder / "state" / "mimir" / "colab"

    def order(self, run: str, **more: Any) -> dict[str, Any]:
        """Raise the run's attempt and start its machine."""
        attempt = raise_attempt(self.store, run)
        spec = AttemptSpec(self.store.url, run, attempt, env=KEYS, **more)
        record = self.provider.start(spec)
        self.records.append(record)
        return record

    def step(self, run: str) -> int:
        return read_head(self.store, run).step

    def until(self, condition: Any, seconds: float = 300.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.1)


def cli() -> str:
    """The CLI's path; a test that needs it is skipped, or fails where it must not be missing."""
    if CLI and RUNTIME:
        return CLI
    why = "Google's CLI and a Jupyter server are made ready by `make colab-test`"
    if REQUIRED:
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    cli()
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1",
        aws_access_key_id="testing", aws_secret_access_key="testing",
    )  # fmt: skip
    client.create_bucket(Bucket="runs")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def account(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Account]:
    home = tmp_path / "home"
    own = home / ".config" / "colab-cli"
    own.mkdir(parents=True)
    (own / "token.json").write_text(json.dumps(login()))
    colab = Colab(tmp_path / "colab", Path(RUNTIME))
    for name, value in {
        "HOME": str(home), "XDG_STATE_HOME": str(tmp_path / "state"), "COLAB_CLI_PATH": cli(),
        "AWS_EC2_METADATA_DISABLED": "true", "OMP_NUM_THREADS": "1", **KEYS, **colab.environment(),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MIMIR_COLAB_GPU", "cpu")
    name = "".join(c for c in request.node.name if c.isalnum())
    store = open_store(f"s3://runs/{name}?endpoint={bucket}&region=us-east-1")
    provider = ColabProvider(every=5.0, grace=60.0)
    yield Account(colab, tmp_path, store, provider)
    colab.close()


def login() -> dict[str, Any]:
    """What the CLI keeps of a login. It has not expired, so that nothing renews it."""
    return {
        "token": BEARER, "refresh_token": "1//planted-refresh-token", "client_id": "id",
        "client_secret": "planted-client-secret", "token_uri": "https://oauth2.googleapis.com/token",
        "scopes": [], "expiry": "2099-01-01T00:00:00Z", "universe_domain": "googleapis.com",
        "account": "",
    }  # fmt: skip
