"""Stores that cannot be used: one sentence, a non-zero exit, and no run begun."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.e2e.jobs import ROOT
from tests.servers.faults import Faults
from tests.servers.moto_server import serving
from tests.waiting import LIMIT

SECRET = "planted-secret-key"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with serving() as endpoint:
        yield endpoint


@pytest.fixture
def faults(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """A server that serves, with a bucket, until told otherwise."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "PLANTEDKEYID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client("s3", endpoint_url=moto, region_name="us-east-1")
    client.create_bucket(Bucket="runs")
    client.close()
    proxy = Faults(moto, seed=0, rate=0.0)
    yield proxy
    proxy.close()


def submit(store: str) -> tuple[int, str]:
    """(exit code, what it printed as its error)."""
    done = subprocess.run(
        [
            sys.executable, "-m", "launch", "submit", "x", "--preset", "smoke", "--store", store,
            "--epochs", "1",
        ],
        cwd=ROOT, env=dict(os.environ, OMP_NUM_THREADS="1"), capture_output=True, text=True,
        timeout=LIMIT, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("python -m launch")]
    assert len(errors) == 1, done.stderr
    assert SECRET not in done.stderr + done.stdout
    return done.returncode, errors[0]


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, "InvalidAccessKeyId", "does not accept these keys"),
        (403, "SignatureDoesNotMatch", "does not accept these keys"),
        (400, "ExpiredToken", "the credentials have expired"),
        (403, "RequestTimeTooSkewed", "the clock of this machine is wrong"),
        (404, "NoSuchBucket", "there is no bucket runs"),
        (403, "AccessDenied", "these credentials do not allow it"),
        (501, "NotImplemented", "does not offer this operation"),
    ],
)
def test_a_server_that_refuses(faults: Faults, status: int, code: str, says: str) -> None:
    faults.verdict = (status, code)
    returned, error = submit(f"s3://runs/{code}?endpoint={faults.endpoint}&region=us-east-1")
    assert returned == 78
    assert says in error


@pytest.mark.parametrize("header", ["if-none-match", "if-match"])
def test_a_server_that_ignores_conditions(faults: Faults, header: str) -> None:
    faults.forgotten = {header}
    returned, error = submit(f"s3://runs/{header}?endpoint={faults.endpoint}&region=us-east-1")
    assert returned == 78
    assert "two machines could both believe that they own a run" in error
    assert "Ways out" in error


def test_a_folder_that_cannot_be_made(faults: Faults, tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("no folder")
    returned, error = submit(f"{folder.as_uri()}/runs")
    assert returned == 78
    assert "choose another folder or correct its permissions" in error


def test_no_credentials(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    returned, error = submit(f"s3://runs/x?endpoint={faults.endpoint}&region=us-east-1")
    assert returned == 78
    assert "no credentials were found" in error


def test_a_credentials_file_that_is_none(
    faults: Faults, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keys.json").write_text(SECRET)
    monkeypatch.setenv("MIMIR_CREDENTIALS_FILE", str(tmp_path / "keys.json"))
    returned, error = submit(f"s3://runs/x?endpoint={faults.endpoint}&region=us-east-1")
    assert returned == 78
    assert "is not a JSON object" in error
