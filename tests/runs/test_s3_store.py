"""What S3 servers answer, and what we make of it."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
    UnauthorizedSSOTokenError,
)

from mimir.errors import BadInput, Conflict, Corrupt, NotFound, StoreDenied, StoreError, StoreUnfit
from mimir.runs.s3_content import PART, etag
from mimir.runs.s3_credentials import FileCredentials
from mimir.runs.s3_errors import translate
from mimir.runs.s3_store import S3Store, _bare, _quoted
from mimir.runs.s3_url import Bucket, parse_url
from mimir.runs.store import open_store
from tests.runs.ledger import CONTENT, begun, claimed
from tests.servers.faults import Faults

SECRET = "hunter2hunter2"


def _answer(code: str, status: int) -> ClientError:
    error = {"Code": code, "Message": f"about key {SECRET}"}
    return ClientError(
        {"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject"
    )


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (_answer("NoSuchBucket", 404), StoreDenied, "no bucket b at http://h"),
        (_answer("InvalidAccessKeyId", 403), StoreDenied, "does not accept these keys"),
        (_answer("SignatureDoesNotMatch", 403), StoreDenied, "does not accept these keys"),
        (_answer("ExpiredToken", 400), StoreDenied, "have expired"),
        (_answer("InvalidToken", 400), StoreDenied, "have expired"),
        (_answer("RequestTimeTooSkewed", 403), StoreDenied, "clock of this machine"),
        (_answer("AccessDenied", 403), StoreDenied, "grant s3:PutObject"),
        (_answer("403", 403), StoreDenied, "grant s3:PutObject"),
        (_answer("PermanentRedirect", 301), StoreDenied, "region="),
        (_answer("AuthorizationHeaderMalformed", 400), StoreDenied, "region="),
        (_answer("AccountProblem", 403), StoreDenied, "suspended the account"),
        (_answer("UserSuspended", 403), StoreDenied, "suspended the account"),
        (_answer("Any", 402), StoreDenied, "suspended the account"),
        (_answer("InvalidObjectState", 403), Corrupt, "moved to an archive"),
        (_answer("QuotaExceeded", 403), StoreError, "no room for it"),
        (_answer("XMinioStorageFull", 507), StoreError, "no room for it"),
        (_answer("KMS.DisabledException", 400), StoreDenied, "the key that encrypts"),
        (_answer("SlowDown", 403), StoreError, "try later"),
        (_answer("BadDigest", 400), StoreError, "other bytes arrived"),
        (_answer("EntityTooLarge", 400), BadInput, "of this size"),
        (_answer("RequestTimeout", 400), StoreError, "try later"),
        (_answer("IllegalLocationConstraintException", 400), StoreDenied, "region="),
        (_answer("NoSuchKey", 404), NotFound, "no such object"),
        (_answer("404", 404), NotFound, "no such object"),
        (_answer("PreconditionFailed", 412), Conflict, "another version"),
        (_answer("ConditionalRequestConflict", 409), Conflict, "under way"),
        (_answer("NotImplemented", 501), StoreUnfit, "does not offer"),
        (_answer("SlowDown", 503), StoreError, "try later"),
        (_answer("InternalError", 500), StoreError, "try later"),
        (_answer("TooManyRequests", 429), StoreError, "try later"),
        (_answer("Strange", 418), StoreError, "answered Strange"),
        (NoCredentialsError(), StoreDenied, "AWS_ACCESS_KEY_ID"),
        (CredentialRetrievalError(provider="x", error_msg=SECRET), StoreDenied, "sign in again"),
        (UnauthorizedSSOTokenError(), StoreDenied, "sign in again"),
        (EndpointConnectionError(endpoint_url="http://h"), StoreError, "cannot be reached"),
        (ConnectTimeoutError(endpoint_url="http://h"), StoreError, "in time"),
        (ReadTimeoutError(endpoint_url="http://h"), StoreError, "in time"),
        (SSLError(endpoint_url="http://h", error="x"), StoreError, "certificates"),
        (ResponseStreamingError(error="x"), StoreError, "connection to http://h failed"),
    ],
)
def test_every_answer_has_its_error(error: Exception, kind: type, says: str) -> None:
    made = translate(error, "upload", "s3://b/run/x", "http://h")
    assert type(made) is kind
    assert says in str(made)
    assert "s3://b/run/x" in str(made)
    assert SECRET not in str(made)
    assert "\n" not in str(made)


def test_the_region_that_the_server_names_is_told() -> None:
    error = _answer("AuthorizationHeaderMalformed", 400)
    error.response["Error"]["Region"] = "eu-north-1"
    assert "add region=eu-north-1" in str(translate(error, "read", "s3://b/x", ""))
    error.response["Error"]["Region"] = f"{SECRET}\n\x1b"
    assert SECRET not in str(translate(error, "read", "s3://b/x", ""))


def test_an_archived_checkpoint_is_passed_over_for_one_that_can_be_read(s3, monkeypatch) -> None:
    """A lifecycle rule has moved the newest away: rights have nothing to do with it."""
    store = begun(open_store(s3.url("archived")))
    said: list[str] = []
    attempt = claimed(store, said)
    old, new = attempt.commit(1, CONTENT, None), attempt.commit(2, CONTENT[::-1], None)
    get = store._client.get_object

    def archived(**at: str):
        if at["Key"].endswith(new.key):
            raise _answer("InvalidObjectState", 403)
        return get(**at)

    monkeypatch.setattr(store._client, "get_object", archived)
    kept, content = attempt.load_newest(bytes)
    assert (kept.key, content) == (old.key, CONTENT)
    assert "moved to an archive" in said[0]


def test_a_missing_bucket(s3) -> None:
    store = open_store(s3.url(bucket="missing"))
    for action in (
        lambda: store.read("run/HEAD"),
        lambda: store.put_if_absent("run/HEAD", b"x"),
        lambda: store.compare_and_swap("run/HEAD", b"x", "0" * 32),
        lambda: store.put_content("run/x", b"x"),
        lambda: list(store.list("")),
        lambda: list(store.folders()),
    ):
        with pytest.raises(StoreDenied, match="there is no bucket missing"):
            action()


def test_no_credentials(s3, monkeypatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_ACCESS") or name.startswith("AWS_SECRET"):
            monkeypatch.delenv(name)
    with pytest.raises(StoreDenied, match="no credentials were found"):
        open_store(s3.url()).read("run/HEAD")


def test_an_endpoint_that_is_not_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = taken.getsockname()[1]
        bucket = Bucket("b", endpoint=f"http://127.0.0.1:{port}", region="us-east-1")
        store = S3Store(bucket, tries=1)
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            store.read("run/HEAD")
        assert not isinstance(caught.value, StoreDenied)
        with pytest.raises(StoreError, match="cannot be reached"):
            store.put_content("run/x", b"x")


def test_a_server_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        bucket = Bucket("b", endpoint=f"http://127.0.0.1:{port}", region="us-east-1")
        store = S3Store(bucket, tries=1, read_timeout=0.2)
        with pytest.raises(StoreError, match="did not answer in time"):
            store.put_if_absent("run/HEAD", b"x")


def test_an_illegal_bucket_name(s3) -> None:
    with pytest.raises(BadInput, match="not a legal bucket"):
        open_store(s3.url(bucket="no_such!bucket")).read("run/HEAD")


def test_a_short_upload_is_noticed(s3, monkeypatch) -> None:
    store = open_store(s3.url("short"))
    monkeypatch.setattr(store._client, "head_object", lambda **_: {"ContentLength": 3, "ETag": "e"})
    with pytest.raises(StoreError, match="upload it again"):
        store.put_content("run/x", b"four")


@pytest.fixture
def behind(s3) -> Iterator[tuple[S3Store, Faults]]:
    """A store behind a proxy that does what it is told."""
    faults = Faults(s3.endpoint, seed=0, rate=0.0)
    bucket = parse_url(s3.url("behind").replace(s3.endpoint, faults.endpoint))
    yield S3Store(bucket), faults
    faults.close()


SIZES = (0, 1, PART - 1, PART, 2 * PART + 5)


@pytest.mark.parametrize("store", ["s3", "rgw"], indirect=True)
@pytest.mark.parametrize("size", SIZES)
def test_the_etag_of_what_is_uploaded_is_known_before(store, size: int) -> None:
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    store.put_content("run/x", content)
    assert etag(content) == store._client.head_object(**store._at("run/x"))["ETag"][1:-1]


@pytest.mark.parametrize("size", SIZES[1:])
def test_an_upload_that_is_spoilt_on_its_way_is_noticed(behind, size: int) -> None:
    store, faults = behind
    faults.spoils = True
    with pytest.raises(StoreError, match="other bytes than were uploaded: upload it again"):
        store.put_content("run/x", bytes(size))
    assert list(store.list("run/")) == []  # content under its digest must not lie there
    faults.spoils = False
    assert store.put_content("run/x", bytes(size)).size == size


def test_an_etag_that_is_no_digest_costs_one_look(behind) -> None:
    """As where a server encrypts what it stores."""
    store, faults = behind
    faults.etag = "0" * 32
    store.put_content("run/x", b"one")
    served = faults.counts.total()
    store.put_content("run/x", b"two")
    assert faults.counts.total() == served + 2  # the upload and its size
    assert store.get("run/x") == b"two"


class Ceph:
    """put_object of a server that compares If-Match with its unquoted ETag."""

    def __init__(self, client) -> None:
        self.client, self.asked = client, []

    def put_object(self, IfMatch: str = "", **arguments):
        if not IfMatch:
            return self.client.put_object(**arguments)
        self.asked.append(IfMatch)
        if IfMatch.startswith('"'):
            raise _answer("PreconditionFailed", 412)
        return self.client.put_object(IfMatch=f'"{IfMatch}"', **arguments)


def test_the_form_of_if_match_is_learned_once(s3, monkeypatch) -> None:
    store = open_store(s3.url("ceph"))
    ceph = Ceph(store._once)
    monkeypatch.setattr(store, "_once", ceph)
    first = store.put_if_absent("run/HEAD", b"one")
    with pytest.raises(Conflict):
        store.compare_and_swap("run/HEAD", b"x", "0" * 32)
    assert ceph.asked == [f'"{"0" * 32}"']  # not tried bare: the version was really wrong
    second = store.compare_and_swap("run/HEAD", b"two", first)
    assert store.etag_form is _bare
    with pytest.raises(Conflict):
        store.compare_and_swap("run/HEAD", b"three", first)
    store.compare_and_swap("run/HEAD", b"three", second)
    assert [etag.startswith('"') for etag in ceph.asked] == [True, True, False, False, False]


def test_a_server_that_wants_quotes_never_sees_the_bare_form(s3, monkeypatch) -> None:
    store = open_store(s3.url("quoted"))
    asked: list[str] = []
    put = store._once.put_object

    def spied(**arguments):
        asked.append(arguments.get("IfMatch", '"'))
        return put(**arguments)

    monkeypatch.setattr(store._once, "put_object", spied)
    first = store.put_if_absent("run/HEAD", b"one")
    store.compare_and_swap("run/HEAD", b"two", first)
    assert store.etag_form is _quoted
    with pytest.raises(Conflict):
        store.compare_and_swap("run/HEAD", b"three", first)
    assert len(asked) == 3
    assert all(etag.startswith('"') for etag in asked)


def test_a_race_is_not_taken_for_the_wrong_form(s3, monkeypatch) -> None:
    store = open_store(s3.url("race"))
    first = store.put_if_absent("run/HEAD", b"one")
    asked = []

    def conflict(**arguments):
        asked.append(arguments["IfMatch"])
        raise _answer("ConditionalRequestConflict", 409)

    monkeypatch.setattr(store._once, "put_object", conflict)
    with pytest.raises(Conflict):
        store.compare_and_swap("run/HEAD", b"two", first)
    assert asked == [f'"{first}"']


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket",
        "s3://bucket/a/b",
        "s3://bucket/a%20b?endpoint=https://host:9000&region=auto&addressing=virtual",
    ],
)
def test_urls_keep_their_meaning(url: str) -> None:
    bucket = parse_url(url)
    assert bucket.url == url
    assert parse_url(bucket.url) == bucket


def test_an_endpoint_of_the_environment_becomes_part_of_the_url(monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert open_store("s3://bucket").url == "s3://bucket?endpoint=http://127.0.0.1:9"


def _keys(path: Path, key: str, **more: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"AccessKeyId": key, "SecretAccessKey": SECRET, **more}))
    fresh.replace(path)


def test_replaced_credentials_are_used_at_once(s3, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    _keys(path, "FIRST")
    store = open_store(s3.url("keys"), credentials_file=path)
    seen: list[str] = []

    def look(request, **_) -> None:
        header = request.headers["Authorization"]
        text = header.decode() if isinstance(header, bytes) else header
        seen.append(text.partition("Credential=")[2].partition("/")[0])

    store._client.meta.events.register("before-send.s3", look)
    store.read("run/HEAD")
    _keys(path, "SECOND", SessionToken="token")
    store.read("run/HEAD")
    path.write_text("{half")
    store.read("run/HEAD")
    assert seen == ["FIRST", "SECOND", "SECOND"]
    assert SECRET not in repr(store) + store.url


def test_credentials_do_not_show_themselves(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    _keys(path, "FIRST")
    credentials = FileCredentials(path)
    assert credentials.get_frozen_credentials().secret_key == SECRET
    assert SECRET not in repr(credentials)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{SECRET}", "not a JSON object"),
        (json.dumps({"AccessKeyId": "A", "SecretAccessKey": ""}), "lacks SecretAccessKey"),
        (json.dumps({"SecretAccessKey": SECRET}), "lacks AccessKeyId"),
        (json.dumps([SECRET]), "not a JSON object"),
    ],
)
def test_bad_credential_files_are_named_and_not_shown(s3, tmp_path, text: str, says: str) -> None:
    path = tmp_path / "keys.json"
    with pytest.raises(BadInput, match="cannot read the credentials file"):
        open_store(s3.url(), credentials_file=path)
    path.write_text(text)
    with pytest.raises(BadInput, match=says) as caught:
        open_store(s3.url(), credentials_file=path)
    assert SECRET not in str(caught.value)


def test_a_body_that_breaks_off_is_read_again(s3, monkeypatch) -> None:
    faults = Faults(s3.endpoint, seed=0, rate=0.0)
    try:
        store = open_store(s3.url("broken").replace(s3.endpoint, faults.endpoint))
        store.put("run/x", bytes(range(256)) * 40)
        met = iter(["cut off", "cut off", "served"])
        monkeypatch.setattr(faults, "draw", lambda _: (next(met), 0.5))
        assert store.get("run/x") == bytes(range(256)) * 40
        monkeypatch.setattr(faults, "draw", lambda _: ("cut off", 0.5))
        with pytest.raises(StoreError, match="the connection to http"):
            store.read("run/x")
    finally:
        faults.close()


def test_missing_is_told_from_denied_where_s3_answers_403_to_both(s3, monkeypatch) -> None:
    """As it does for keys that may list only below a prefix."""
    store = open_store(s3.url("hidden"))
    store.put("run/there", b"x")

    def denied(**_: str) -> None:
        raise _answer("AccessDenied", 403)

    monkeypatch.setattr(store._client, "get_object", denied)
    assert store.read("run/missing") is None
    with pytest.raises(NotFound):
        store.get("run/missing")
    with pytest.raises(StoreDenied):
        store.read("run/there")
    monkeypatch.setattr(store, "_pages", lambda *_: (_ for _ in ()).throw(StoreDenied("no")))
    with pytest.raises(StoreDenied, match="grant s3:GetObject"):
        store.read("run/missing")
