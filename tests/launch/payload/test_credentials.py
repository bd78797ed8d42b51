"""Keys for an attempt: the policy's text, what STS is asked, what becomes of its answers."""

import json
import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from launch.contract.provider import AttemptSpec
from launch.payload import credentials, session_policy
from launch.payload.credentials import AssumeRole, Credentials, Federation, StaticKeys
from launch.supervise import key_refresh
from mimir.errors import BadInput, StoreDenied, StoreError
from mimir.runs.order import KeySource
from mimir.runs.store import open_store

ROLE = "arn:aws:iam::123456789012:role/mimir"
HOUR = 3600.0
NOW = 1_800_000_000.0


def allows(text: str, action: str, resource: str, prefix: str | None = None) -> bool:
    """Evaluate a policy of our statement forms: Allow only, StringLike on s3:prefix."""
    for statement in json.loads(text)["Statement"]:
        assert statement.keys() <= {"Effect", "Action", "Resource", "Condition"}
        assert statement["Effect"] == "Allow"
        named, there = statement["Action"], statement["Resource"]
        condition = statement.get("Condition", {"StringLike": {"s3:prefix": None}})
        pattern = condition["StringLike"]["s3:prefix"]
        if (
            action in ([named] if isinstance(named, str) else named)
            and any(
                fnmatchcase(f"arn:aws:s3:::{resource}", each)
                for each in ([there] if isinstance(there, str) else there)
            )
            and (pattern is None or (prefix is not None and fnmatchcase(prefix, pattern)))
        ):
            return True
    return False


@pytest.mark.parametrize(
    ("action", "key", "allowed"),
    [
        ("s3:GetObject", "b/p/ours/run.json", True),
        ("s3:GetObject", "b/p/ours/a0001/x", True),
        ("s3:GetObject", "b/p/theirs/run.json", False),
        ("s3:PutObject", "b/p/ours/a0002/x", True),
        ("s3:PutObject", "b/p/ours/HEAD", True),
        ("s3:GetObject", "b/p/ours/launcher/a0002/stop.json", True),
        ("s3:PutObject", "b/p/ours/a0002/model-m.tar", True),
        ("s3:PutObject", "b/p/ours/model/m", False),
        ("s3:PutObject", "b/p/ours/report.html", False),
        ("s3:PutObject", "b/p/ours/launcher/a0002/order.json", False),
        ("s3:PutObject", "b/p/ours/launcher/final.json", False),
        ("s3:DeleteObject", "b/p/ours/launcher/a0002/stop.json", False),
        ("s3:AbortMultipartUpload", "b/p/ours/a0002/x", True),
        ("s3:PutObject", "b/p/ours/a0001/x", False),
        ("s3:PutObject", "b/p/ours/a00021/x", False),
        ("s3:PutObject", "b/p/ours/run.json", False),
        ("s3:PutObject", "b/p/ours/data/x", False),
        ("s3:PutObject", "b/p/oursx/HEAD", False),
        ("s3:PutObject", "b/ours/HEAD", False),
        ("s3:DeleteObject", "b/p/ours/a0002/x", True),
        ("s3:DeleteObject", "b/p/ours/a0001/x", False),
        ("s3:DeleteObject", "b/p/ours/HEAD", False),
        ("s3:DeleteObject", "b/p/ours/run.json", False),
        ("s3:DeleteObject", "b/p/_keys/ours/a0002-f00.json", True),
        ("s3:GetObject", "b/p/_keys/ours/a0002-f00.json", False),
        ("s3:PutObject", "b/p/_keys/ours/a0002-f00.json", False),
        ("s3:DeleteObject", "b/p/_keys/ours/a0001-f00.json", False),
        ("s3:DeleteObject", "b/p/_keys/ours/a00021-f00.json", False),
        ("s3:DeleteObject", "b/p/_keys/theirs/a0002-f00.json", False),
        ("s3:PutBucketPolicy", "b", False),
    ],
)
def test_the_policy(action: str, key: str, allowed: bool) -> None:
    assert allows(session_policy.of_attempt("b", "p", "ours", 2), action, key) is allowed


@pytest.mark.parametrize(
    ("action", "key", "allowed"),
    [
        ("s3:GetObject", "b/p/ours/run.json", True),
        ("s3:GetObject", "b/p/_sweeps/lr/data/x", True),
        ("s3:GetObject", "b/p/_sweeps/lr/code/x", True),
        ("s3:GetObject", "b/p/_sweeps/lr/state.json", False),
        ("s3:GetObject", "b/p/_sweeps/lr.json", False),
        ("s3:GetObject", "b/p/_sweeps/lrx/data/x", False),
        ("s3:GetObject", "b/p/ours2/run.json", False),
        ("s3:PutObject", "b/p/_sweeps/lr/data/x", False),
        ("s3:DeleteObject", "b/p/_sweeps/lr/data/x", False),
    ],
)
def test_a_run_of_a_sweep_reads_what_its_runs_share(action: str, key: str, allowed: bool) -> None:
    text = session_policy.of_attempt("b", "p", "ours", 2, sweep="lr")
    assert allows(text, action, key) is allowed


def test_listing_is_bound_to_the_run() -> None:
    text = session_policy.of_attempt("b", "", "ours", 2)
    assert allows(text, "s3:ListBucket", "b", "ours/a0001/log/")
    assert not allows(text, "s3:ListBucket", "b", "theirs/")
    assert not allows(text, "s3:ListBucket", "b", "")
    assert not allows(text, "s3:ListBucket", "b", None)
    assert not allows(text, "s3:ListBucket", "c", "ours/")


def test_the_policy_fits_into_what_sts_takes() -> None:
    longest = session_policy.of_attempt("b" * 63, "p" * 60, "r" * 41, 99999, sweep="s" * 36)
    assert len(longest) <= 2048
    assert len(session_policy.of_attempt("b" * 63, "p" * 100, "r" * 41, 99999)) <= 2048
    with pytest.raises(BadInput, match="shorter prefix"):
        session_policy.of_attempt("b" * 63, "p" * 300, "r" * 41, 1)


@pytest.mark.parametrize("prefix", ["a*b", "a?", "${aws:username}"])
def test_a_prefix_is_no_pattern(prefix: str) -> None:
    with pytest.raises(BadInput, match="wildcard"):
        session_policy.of_attempt("b", prefix, "ours", 1)


@pytest.mark.parametrize(
    "arn", ["mimir", "arn:aws:iam::123456789012:user/me", "arn:aws:iam::1:role/"]
)
def test_a_role_is_a_role(arn: str) -> None:
    with pytest.raises(BadInput, match="is no role"):
        AssumeRole(arn)


def test_the_role_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert credentials.of_role() == Federation()
    monkeypatch.setenv("MIMIR_ROLE_ARN", ROLE)
    assert credentials.of_role() == AssumeRole(ROLE)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def url(moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "laptops-own-secret")
    return f"s3://runs/p?endpoint={moto}&region=us-east-1"


@pytest.mark.parametrize("how", [AssumeRole(ROLE), Federation()])
def test_minted_keys_go_into_a_file_that_a_store_reads(
    url: str, how: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = credentials.mint(url, "ours", 1, HOUR, how)
    assert made.session_token
    assert made.warning == ""
    path = tmp_path / "private" / "keys.json"
    made.to_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert json.loads(path.read_text())["SessionToken"] == made.session_token
    for name in made.environment():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MIMIR_CREDENTIALS_FILE", str(path))
    store: Any = open_store(url)
    assert store._client._request_signer._credentials.get_frozen_credentials() == (
        made.access_key, made.secret_key, made.session_token, None
    )  # fmt: skip


def test_refreshed_keys_replace_the_file(url: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first = key_refresh.refresh(path, url, "ours", 1, HOUR, Federation())
    second = key_refresh.refresh(path, url, "ours", 1, HOUR, Federation())
    assert json.loads(path.read_text())["AccessKeyId"] == second.access_key
    assert first.environment().keys() == second.environment().keys()


class Sts:
    """Answers as told; keeps what it was asked."""

    def __init__(self, *answers: Exception | float) -> None:
        self.answers, self.asked = list(answers), []

    def assume_role(self, **request: Any) -> dict[str, Any]:
        import datetime

        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        ends = datetime.datetime.fromtimestamp(answer, datetime.UTC)
        return {"Credentials": {"AccessKeyId": "A", "SecretAccessKey": "S", "SessionToken": "T",
                                "Expiration": ends}}  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    def answering(*answers: Exception | float) -> Sts:
        import boto3

        sts = Sts(*answers)
        monkeypatch.setattr(boto3.Session, "client", lambda self, service, **_: sts)
        return sts

    return answering


def refusal(code: str, status: int) -> Exception:
    from botocore.exceptions import ClientError

    return ClientError(
        {"Error": {"Code": code, "Message": "about secret hunter2"},
         "ResponseMetadata": {"HTTPStatusCode": status}}, "AssumeRole",
    )  # fmt: skip


def mint(lifetime_s: float) -> Credentials:
    return credentials.mint("s3://runs", "ours", 1, lifetime_s, AssumeRole(ROLE), clock=lambda: NOW)


def test_keys_outlive_the_deadline_by_half_an_hour(asked: Any) -> None:
    sts = asked(NOW + 5 * HOUR)
    assert mint(4 * HOUR).warning == ""
    assert sts.asked[0]["DurationSeconds"] == 4.5 * HOUR


def test_a_longer_job_is_told_that_it_needs_fresh_keys(asked: Any) -> None:
    sts = asked(NOW + 12 * HOUR)
    made = mint(30 * HOUR)
    assert sts.asked[0]["DurationSeconds"] == 12 * HOUR
    assert "end after 12.0 h and the job may take 30.0 h" in made.warning


def test_a_role_of_an_hour_is_asked_for_an_hour(asked: Any) -> None:
    sts = asked(refusal("ValidationError", 400), NOW + HOUR)
    assert "end after 1.0 h" in mint(4 * HOUR).warning
    assert [request["DurationSeconds"] for request in sts.asked] == [4.5 * HOUR, HOUR]


@pytest.mark.parametrize(
    ("code", "status", "kind", "says"),
    [
        ("InvalidClientTokenId", 403, StoreDenied, "does not accept your own keys"),
        ("ExpiredToken", 403, StoreDenied, "have expired"),
        ("AccessDenied", 403, StoreDenied, "trust policy"),
        ("PackedPolicyTooLarge", 400, BadInput, "refused the policy"),
        ("InternalFailure", 500, StoreError, "try again later"),
        ("InvalidAction", 404, BadInput, "does not offer this"),
    ],
)
def test_refusals(asked: Any, code: str, status: int, kind: type, says: str) -> None:
    asked(refusal(code, status))
    with pytest.raises(kind, match=says) as caught:
        mint(HOUR)
    assert type(caught.value) is kind
    assert "hunter2" not in str(caught.value)


def test_nobody_at_the_endpoint(url: str) -> None:
    with pytest.raises(StoreError, match="cannot be reached"):
        credentials.mint("s3://runs?endpoint=http://127.0.0.1:9", "ours", 1, HOUR, Federation())


def test_no_keys_at_all(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for how in (Federation(), StaticKeys()):
        with pytest.raises(StoreDenied, match="no credentials were found"):
            credentials.mint(url, "ours", 1, HOUR, how)


def test_static_keys_are_the_laptops_own_with_a_warning(url: str) -> None:
    made = credentials.mint(url, "ours", 1, HOUR, StaticKeys())
    assert made.environment() == {
        name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    }
    assert made.expires is None
    assert made.warning.startswith("warning: your own keys go to the machine")


def test_a_file_store_needs_no_keys() -> None:
    with pytest.raises(BadInput, match="needs no keys"):
        credentials.mint("file:///data", "ours", 1, HOUR, Federation())


def test_keys_do_not_show_themselves(tmp_path: Path) -> None:
    made = Credentials("AKIAPLANTED", "secret-planted", "token-planted", None)
    assert "PLANTED" not in repr(made).upper()
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot write the credentials file") as caught:
        made.to_file(tmp_path / "file" / "keys.json")
    assert "PLANTED" not in str(caught.value).upper()


@pytest.mark.parametrize(
    ("store", "source", "foreign", "how"),
    [
        ("file:///runs", KeySource(static=True), True, None),
        ("s3://b/p", KeySource(), False, None),
        ("s3://b/p", KeySource(), True, credentials.Federation),
        (
            "s3://b/p",
            KeySource(role="arn:aws:iam::123456789012:role/w"),
            False,
            credentials.AssumeRole,
        ),
        ("s3://b/p", KeySource(static=True), True, credentials.StaticKeys),
    ],
)
def test_own_keys_leave_this_computer_only_on_the_users_word(
    monkeypatch: pytest.MonkeyPatch,
    store: str,
    source: KeySource,
    foreign: bool,
    how: type | None,
) -> None:
    asked: list[object] = []

    def mint(url: str, run: str, attempt: int, life: float, way: object, *rest: object) -> str:
        asked.append((url, run, attempt, life, type(way)))
        return "made"

    monkeypatch.setattr(credentials, "mint", mint)
    spec = AttemptSpec(store=store, run="run", attempt=3, deadline=1600.0)
    made = credentials.for_machine(spec, source, foreign=foreign, clock=lambda: 1000.0)
    assert made == ("made" if how else None)
    assert asked == ([(store, "run", 3, 600.0, how)] if how else [])


def test_an_order_that_holds_keys_does_not_show_them() -> None:
    """A test's or a traceback's repr of it may be printed."""
    spec = AttemptSpec("s3://b/p", "run", 1, env={"AWS_SECRET_ACCESS_KEY": "planted"})
    assert "planted" not in repr(spec)
