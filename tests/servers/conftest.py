"""Ceph's S3 server, which enforces policies, with a bucket and a role; started by run.sh here."""

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from launch.payload import credentials
from mimir.runs.store import Store, open_store
from tests.runs.conftest import RGW_KEYS, rgw_endpoint

LAUNCHER = ("mimir-test-launcher", "mimir-test-launcher-secret")
ROLE = "arn:aws:iam:::role/mimir-worker"
HOUR = 3600.0


@dataclass(frozen=True)
class Ceph:
    """The server, its one bucket, and the store's prefix in it."""

    endpoint: str
    bucket: str

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/people/runs?endpoint={self.endpoint}&region=us-east-1"

    def client(self, service: str, key: tuple[str, str]) -> Any:
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name="us-east-1",
            aws_access_key_id=key[0], aws_secret_access_key=key[1],
            config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip


@pytest.fixture(scope="session")
def ceph() -> Ceph:
    """With a role that may do everything in S3: what is refused, the session policy refuses."""
    server = Ceph(rgw_endpoint(), f"keys-{time.time_ns()}")
    # Of the launcher: what a session writes belongs to whoever opened it, here as on old AWS.
    server.client("s3", LAUNCHER).create_bucket(Bucket=server.bucket)
    iam = server.client("iam", RGW_KEYS)
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": ["arn:aws:iam:::user/launcher"]},
                "Action": ["sts:AssumeRole"],
            }
        ],
    }
    name = ROLE.rpartition("/")[2]
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    everything = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}
    iam.put_role_policy(
        RoleName=name, PolicyName="all",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
    )  # fmt: skip
    return server


@pytest.fixture
def laptop(ceph: Ceph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    """The store with all rights of its owner, whose keys boto3's own search finds too."""
    path = tmp_path / "launcher.json"
    credentials.Credentials(*LAUNCHER, "", None).to_file(path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", LAUNCHER[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", LAUNCHER[1])
    return open_store(ceph.url, credentials_file=path)
