import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from mimir.runs.file_folder import Name, open_folder
from mimir.runs.file_versions import Versions
from mimir.runs.store import Store, open_store
from tests.runs.ledger import begun
from tests.runs.memory import MemoryStore
from tests.servers.moto_server import serving

# Read here: the tests' own environment has none of these.
RGW = os.environ.get("MIMIR_TEST_RGW", "")
CI = os.environ.get("MIMIR_CI", "") == "1"
RGW_KEYS = ("mimir-test-admin", "mimir-test-admin-secret")
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@dataclass
class S3:
    """An S3 server of the test session, with one bucket."""

    endpoint: str
    bucket: str = "runs"
    keys: tuple[str, str] = ("testing", "testing")

    def url(self, prefix: str = "", bucket: str = "") -> str:
        path = f"{bucket or self.bucket}/{prefix}".rstrip("/")
        return f"s3://{path}?endpoint={self.endpoint}&region=us-east-1"

    def client(self):
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.keys[0],
            aws_secret_access_key=self.keys[1],
        )


@pytest.fixture(autouse=True)
def _own_credentials(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path):
    """No test sees the credentials of whoever runs it, except those for a real bucket."""
    if "real" in request.node.name:
        return
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    with serving() as endpoint:
        fake = S3(endpoint)
        fake.client().create_bucket(Bucket=fake.bucket)
        yield fake


def rgw_endpoint() -> str:
    """Of Ceph's S3 server, which tests/servers/run.sh starts. CI does not go without it."""
    if not RGW and CI:
        pytest.fail("CI tests against Ceph too: run the tests by tests/servers/run.sh")
    if not RGW:
        pytest.skip("MIMIR_TEST_RGW names no Ceph server: `make test-servers` starts one")
    return RGW


@pytest.fixture(scope="session")
def rgw() -> S3:
    """Ceph's S3 server, with one bucket. Not versioned: there it lets every creator win."""
    ceph = S3(rgw_endpoint(), keys=RGW_KEYS)
    ceph.client().create_bucket(Bucket=ceph.bucket)
    return ceph


@contextlib.contextmanager
def name_at(path: Path) -> Iterator[Name]:
    """The name of a path, in its folder, open for the block."""
    with open_folder(path.parent, ()) as folder:
        yield Name(folder, path.name)


@contextlib.contextmanager
def versions_at(path: Path, known: int = 0) -> Iterator[Versions]:
    """The versions of the object there, of which one knows a number."""
    with name_at(path) as name, Versions(name, {path: known} if known else {}) as versions:
        yield versions


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """As exFAT and some shares: no hard links."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)


@pytest.fixture(params=["file", "linkless", "s3", "rgw", "real", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Every backend in turn, empty. "linkless" is a folder on a file system without hard links,
    "real" the bucket named by MIMIR_TEST_S3_URL."""
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    if request.param == "linkless":
        without_links(monkeypatch)
    if request.param in ("file", "linkless"):
        return open_store((tmp_path / "store").as_uri())
    if request.param == "s3":
        return open_store(request.getfixturevalue("s3").url(prefix))
    if request.param == "rgw":
        server = request.getfixturevalue("rgw")
        for name, value in zip(KEYS, server.keys, strict=True):
            monkeypatch.setenv(name, value)
        return open_store(server.url(prefix))
    if request.param == "memory":
        return MemoryStore()
    url = os.environ.get("MIMIR_TEST_S3_URL")
    if not url:
        pytest.skip("set MIMIR_TEST_S3_URL to a bucket URL to test against a real server")
    path, _, query = url.partition("?")
    return open_store(f"{path.rstrip('/')}/{prefix}?{query}")


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def run(memory: MemoryStore) -> MemoryStore:
    """A store in memory with the run `r` in it."""
    begun(memory)
    return memory


@pytest.fixture(params=["link", "folder"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How a folder's store takes names and versions: by link(), or by the renaming of a folder."""
    if request.param == "folder":
        without_links(monkeypatch)
    return request.param
