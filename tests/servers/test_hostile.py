"""A hostile machine against a server that enforces policies: Ceph, by run.sh here.

With the keys that an attempt's machine really gets, no more and no less. What the laptop then
makes of what it may write is in tests/hostile, but for some attacks that are played out here.
"""

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from launch.payload import credentials, key_link
from launch.payload.credentials import AssumeRole, Credentials
from mimir.errors import StoreDenied
from mimir.runs import layout
from mimir.runs.store import Store, open_store
from tests.hostile.attacks import ATTACKS, Attack
from tests.hostile.ground import VICTIM, Ground, Machine2, populate, standing
from tests.servers.conftest import HOUR, ROLE, Ceph

ROOT = "people/runs/"
HAND_OVER = key_link.hand_over
"""Here, for on the ground nothing is handed over."""
KEYS = layout.handover_key(VICTIM, 2, "f00")
PLAYED = (
    "HEAD: the attempt before, done", "HEAD: another run's HEAD kept", "outcome: evil text",
)  # fmt: skip


class Bucket:
    """The bucket as the laptop sees it: what is in it, by one request."""

    def __init__(self, ceph: Ceph, laptop: Store) -> None:
        self.ceph, self.store = ceph, laptop
        self.client = ceph.client("s3", ("mimir-test-launcher", "mimir-test-launcher-secret"))

    def tags(self) -> dict[str, str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.ceph.bucket)
        return {
            each["Key"].removeprefix(ROOT): each["ETag"]
            for page in pages
            for each in page.get("Contents", ())
        }

    def uploads(self) -> list[str]:
        found = self.client.list_multipart_uploads(Bucket=self.ceph.bucket)
        return sorted(each["Key"] for each in found.get("Uploads", ()))

    def changed(self, before: dict[str, str]) -> set[str]:
        after = self.tags()
        return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


@pytest.fixture
def ground(
    laptop: Store, ceph: Ceph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Ground]:  # fmt: skip
    """The runs of tests/hostile in this bucket; attempts have keys that were cut down."""

    def read() -> str:
        out, err = capsys.readouterr()
        return out + err

    # Without a role, nothing is ordered here for runs that were submitted elsewhere.
    monkeypatch.setenv("MIMIR_ROLE_ARN", ROLE)
    mint = credentials.mint
    keys = {n: mint(ceph.url, VICTIM, n, HOUR, AssumeRole(ROLE)) for n in (1, 2)}
    with standing(Ground(laptop, tmp_path, read), monkeypatch) as ground:
        ground.keys = keys
        populate(ground, lambda attempt: _opened(ceph, keys[attempt], tmp_path))
        laptop.put(KEYS, b"keys of another machine")
        ground.remember()
        yield ground
    bucket = Bucket(ceph, laptop)
    for key in bucket.tags():
        bucket.client.delete_object(Bucket=ceph.bucket, Key=f"{ROOT}{key}")


def _opened(ceph: Ceph, keys: Credentials, folder: Path) -> Store:
    path = folder / f"{keys.access_key}.json"
    keys.to_file(path)
    return open_store(ceph.url, credentials_file=path)


@pytest.fixture
def machine(ground: Ground, ceph: Ceph, tmp_path: Path) -> Machine2:
    return Machine2(*(_opened(ceph, ground.keys[n], tmp_path) for n in (2, 1)))


def test_the_store_refuses_all_that_is_not_its_own(
    ground: Ground, machine: Machine2, ceph: Ceph, laptop: Store
) -> None:
    """The whole table: what is refused changes nothing, what is not changes its own alone."""
    bucket = Bucket(ceph, laptop)
    wrong = []
    head = laptop.get("mid/HEAD")
    for attack in ATTACKS:
        laptop.put("mid/HEAD", head)
        before = bucket.tags()
        try:
            attack.act(machine)
            refused = False
        except StoreDenied:
            refused = True
        if refused != attack.refused:
            wrong.append(f"{attack.name}: refused {refused}")
        # An old attempt's keys reach that attempt's objects, which HEAD names no more.
        own = ("mid/a0002/", "mid/a0001/") if attack.old else ("mid/a0002/",)
        reached = {
            key for key in bucket.changed(before) if not key.startswith(own) and key != "mid/HEAD"
        }
        if reached or (refused and bucket.changed(before)):
            wrong.append(f"{attack.name}: changed {reached}")
    assert not wrong, "\n".join(wrong)


def _by(keys: Credentials, ceph: Ceph, service: str) -> Any:
    return boto3.client(
        service, endpoint_url=ceph.endpoint, region_name="us-east-1",
        aws_access_key_id=keys.access_key, aws_secret_access_key=keys.secret_key,
        aws_session_token=keys.session_token,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )  # fmt: skip


POLICY = json.dumps({
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}],
})  # fmt: skip
RULE = {"Rules": [{"ID": "x", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}]}
GRANT = {"Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"}}
S3 = {
    "copy a neighbour's object into its own": lambda s, b: s.copy_object(
        Bucket=b, Key=f"{ROOT}mid/a0002/x", CopySource=f"{b}/{ROOT}zulu/HEAD"),
    "copy keys on their way": lambda s, b: s.copy_object(
        Bucket=b, Key=f"{ROOT}mid/a0002/x", CopySource=f"{b}/{ROOT}{KEYS}"),
    "copy its own over a neighbour's": lambda s, b: s.copy_object(
        Bucket=b, Key=f"{ROOT}zulu/HEAD", CopySource=f"{b}/{ROOT}mid/HEAD"),
    "copy its own over its order": lambda s, b: s.copy_object(
        Bucket=b, Key=f"{ROOT}mid/launcher/a0002/order.json", CopySource=f"{b}/{ROOT}mid/HEAD"),
    "copy HEAD onto the record": lambda s, b: s.copy_object(
        Bucket=b, Key=f"{ROOT}mid/run.json", CopySource=f"{b}/{ROOT}mid/HEAD"),
    "delete many at once": lambda s, b: _all(s.delete_objects(Bucket=b, Delete={"Objects": [
        {"Key": f"{ROOT}zulu/HEAD"}, {"Key": f"{ROOT}mid/launcher/a0002/order.json"},
        {"Key": f"{ROOT}mid/run.json"}]})),
    "delete a version": lambda s, b: s.delete_object(
        Bucket=b, Key=f"{ROOT}zulu/HEAD", VersionId="null"),
    "delete HEAD's version": lambda s, b: s.delete_object(
        Bucket=b, Key=f"{ROOT}mid/HEAD", VersionId="null"),
    "a large upload over the order": lambda s, b: s.create_multipart_upload(
        Bucket=b, Key=f"{ROOT}mid/launcher/a0003/order.json"),
    "a large upload to a neighbour": lambda s, b: s.create_multipart_upload(
        Bucket=b, Key=f"{ROOT}zulu/a0001/x"),
    "list versions": lambda s, b: s.list_object_versions(Bucket=b),
    "list uploads": lambda s, b: s.list_multipart_uploads(Bucket=b),
    "list all": lambda s, b: s.list_objects_v2(Bucket=b),
    "list by a delimiter": lambda s, b: s.list_objects_v2(Bucket=b, Delimiter="/"),
    "list the store": lambda s, b: s.list_objects_v2(Bucket=b, Prefix=ROOT),
    "list a like name": lambda s, b: s.list_objects_v2(Bucket=b, Prefix=f"{ROOT}mi"),
    "list by the old call": lambda s, b: s.list_objects(Bucket=b, Prefix=f"{ROOT}zulu/"),
    "list buckets' keys": lambda s, b: s.list_objects_v2(Bucket=b, Prefix=f"{ROOT}_keys/"),
    "read a neighbour": lambda s, b: s.get_object(Bucket=b, Key=f"{ROOT}zulu/run.json"),
    "see a neighbour's size": lambda s, b: s.head_object(Bucket=b, Key=f"{ROOT}zulu/run.json"),
    "the bucket's policy": lambda s, b: s.put_bucket_policy(Bucket=b, Policy=POLICY),
    "the bucket's policy read": lambda s, b: s.get_bucket_policy(Bucket=b),
    "the bucket's grants": lambda s, b: s.put_bucket_acl(Bucket=b, ACL="public-read-write"),
    "an object's grants": lambda s, b: s.put_object_acl(
        Bucket=b, Key=f"{ROOT}mid/HEAD", ACL="public-read-write"),
    "its order's grants": lambda s, b: s.put_object_acl(
        Bucket=b, Key=f"{ROOT}mid/launcher/a0002/order.json", ACL="public-read-write"),
    "all expires tomorrow": lambda s, b: s.put_bucket_lifecycle_configuration(
        Bucket=b, LifecycleConfiguration=RULE),
    "versions on": lambda s, b: s.put_bucket_versioning(
        Bucket=b, VersioningConfiguration={"Status": "Enabled"}),
    "tags on a neighbour": lambda s, b: s.put_object_tagging(
        Bucket=b, Key=f"{ROOT}zulu/HEAD", Tagging={"TagSet": []}),
    "pages from the bucket": lambda s, b: s.put_bucket_website(
        Bucket=b, WebsiteConfiguration={"IndexDocument": {"Suffix": "x"}}),
    "other origins": lambda s, b: s.put_bucket_cors(Bucket=b, CORSConfiguration={"CORSRules": [
        {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}),
    "delete the bucket": lambda s, b: s.delete_bucket(Bucket=b),
    "a signed link to a neighbour": lambda s, b: _fetch(s.generate_presigned_url(
        "get_object", Params={"Bucket": b, "Key": f"{ROOT}zulu/HEAD"})),
    "a signed link to keys": lambda s, b: _fetch(s.generate_presigned_url(
        "get_object", Params={"Bucket": b, "Key": f"{ROOT}{KEYS}"})),
    "a form that writes anywhere": lambda s, b: _post(s, b, f"{ROOT}zulu/HEAD"),
    "a form over its order": lambda s, b: _post(s, b, f"{ROOT}mid/launcher/a0002/order.json"),
}  # fmt: skip
IAM = {
    "keys of the role without a policy": lambda c: c("sts").assume_role(
        RoleArn=ROLE, RoleSessionName="x", DurationSeconds=900),
    "keys of the role for all": lambda c: c("sts").assume_role(
        RoleArn=ROLE, RoleSessionName="x", Policy=POLICY.replace('"Principal": "*", ', "")),
    "a session of the owner": lambda c: c("sts").get_session_token(),
    "a federation": lambda c: c("sts").get_federation_token(Name="x"),
    "a user": lambda c: c("iam").create_user(UserName="evil"),
    "keys for the owner": lambda c: c("iam").create_access_key(UserName="launcher"),
    "the role's policy": lambda c: c("iam").put_role_policy(
        RoleName="mimir-worker", PolicyName="all", PolicyDocument="{}"),
    "the role deleted": lambda c: c("iam").delete_role(RoleName="mimir-worker"),
}  # fmt: skip


def _all(answer: dict[str, Any]) -> None:
    """DeleteObjects answers 200 with an error for each."""
    if len(answer.get("Errors", ())) == 3:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "DeleteObjects")


def _fetch(url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, data, headers or {}), timeout=30):
        return


def _post(client: Any, bucket: str, key: str) -> None:
    form = client.generate_presigned_post(bucket, key)
    head = '--x\r\nContent-Disposition: form-data; name="'
    fields = {**form["fields"], "file": "evil"}
    body = "".join(f'{head}{name}"\r\n\r\n{value}\r\n' for name, value in fields.items())
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    _fetch(form["url"], f"{body}--x--\r\n".encode(), headers)


def test_no_other_request_gets_further(ground: Ground, ceph: Ceph, laptop: Store) -> None:
    """Requests that Mimir never makes, with the keys of both attempts."""
    bucket = Bucket(ceph, laptop)
    before, uploads = bucket.tags(), bucket.uploads()
    done = []
    for keys in ground.keys.values():
        s3 = _by(keys, ceph, "s3")
        for name, ask in {**S3, **IAM}.items():
            try:
                ask(s3, ceph.bucket) if name in S3 else ask(lambda what, k=keys: _by(k, ceph, what))
                done.append(name)
            except (ClientError, BotoCoreError, urllib.error.HTTPError) as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
    assert not done
    assert bucket.changed(before) == set()
    assert bucket.uploads() == uploads
    with contextlib.suppress(ClientError):
        assert "evil" not in bucket.client.get_bucket_policy(Bucket=ceph.bucket)["Policy"]


def test_a_link_gives_one_object_only(ground: Ground, ceph: Ceph, laptop: Store) -> None:
    """The machine's link to its keys: another object, another method or a longer life break it."""
    made = ground.keys[2]
    url = HAND_OVER(laptop, VICTIM, 2, made, 60)
    for other in (
        url.replace("/mid/", "/zulu/"), url.replace("Expires=60", "Expires=6000"),
        url.replace("a0002-", "a0001-"), f"{url}&versionId=null&acl",
    ):  # fmt: skip
        with pytest.raises(urllib.error.HTTPError) as refused:
            _fetch(other)
        refused.value.close()
    with pytest.raises(urllib.error.HTTPError) as refused:
        _fetch(url, b"other keys")
    refused.value.close()


def test_a_key_that_climbs_is_a_name_like_any_other(
    ground: Ground, ceph: Ceph, laptop: Store
) -> None:
    s3 = _by(ground.keys[2], ceph, "s3")
    names = ("../launcher/a0003/order.json", "log/../../HEAD", "./x", "log//000002.txt", "\x01")
    for name in names:
        s3.put_object(Bucket=ceph.bucket, Key=f"{ROOT}mid/a0002/{name}", Body=b"{}")
    assert laptop.read("mid/launcher/a0003/order.json") is None
    ground.look()
    ground.evict()
    ground.round()
    ground.check()
    assert ground.newest(VICTIM) == 3


@pytest.mark.parametrize(
    "attack", [each for each in ATTACKS if each.name in PLAYED], ids=lambda each: each.name
)
def test_what_the_laptop_makes_of_it(ground: Ground, machine: Machine2, attack: Attack) -> None:
    attack.act(machine)
    ground.look()
    ground.evict()
    ground.round()
    ground.check()
