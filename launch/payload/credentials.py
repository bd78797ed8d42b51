"""Keys for a machine that one does not trust: for one run, one attempt, and a limited time.

Made by AWS STS or the STS of an S3-compatible server, with a session policy (session_policy.py)
that is cut with what the laptop's own keys allow. A worker finds them in the file that
MIMIR_CREDENTIALS_FILE names, which may be replaced while it works, or in AWS_* variables.
Nothing here prints a key, and no error repeats what a server said about one.
"""

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch.contract import deadlines
from launch.contract.provider import AttemptSpec
from launch.payload import session_policy as policy
from mimir import atomic_file
from mimir.errors import BadInput, StoreDenied, StoreError
from mimir.runs.order import KeySource
from mimir.runs.s3_url import parse_url

SHORTEST_LIFE = 900
"""Seconds: STS gives no shorter life."""
ROLE_DEFAULT = 3600
"""Seconds that a role's session lasts at most, where its owner has set nothing."""
NO_DEADLINE = 12 * 3600.0
"""Seconds asked for a job without one."""
_GIVEN = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")

VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""In which an order has an attempt's keys. No service and no container engine is shown them."""


@dataclass(frozen=True)
class AssumeRole:
    """Keys of a role. Its own MaxSessionDuration may be shorter than STS's 12 hours."""

    arn: str
    longest_s: int = 12 * 3600

    def __post_init__(self) -> None:
        if not re.fullmatch(r"arn:[\w-]+:iam::\w*:role/[\w+=,.@/-]+", self.arn):
            raise BadInput(
                f"{self.arn!r} is no role: write it as arn:aws:iam::ACCOUNT:role/NAME, in "
                "--role or $MIMIR_ROLE_ARN"
            )

    @property
    def partition(self) -> str:
        return self.arn.split(":")[1]

    def ask(self, sts: Any, session: str, policy: str, seconds: int) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = sts.assume_role(
            RoleArn=self.arn, RoleSessionName=session, Policy=policy, DurationSeconds=seconds
        )
        return answer


@dataclass(frozen=True)
class Federation:
    """Keys that an IAM user's long-lived keys vouch for: no role to set up, AWS only."""

    longest_s: int = 36 * 3600
    partition: str = "aws"

    def ask(self, sts: Any, session: str, policy: str, seconds: int) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = sts.get_federation_token(
            Name=session[:32], Policy=policy, DurationSeconds=seconds
        )
        return answer


@dataclass(frozen=True)
class StaticKeys:
    """The laptop's own keys, as they are. Only on the user's explicit word."""


How = AssumeRole | Federation | StaticKeys


@dataclass(frozen=True)
class Credentials:
    """Keys for one attempt. expires: unix seconds, None: never. Their repr shows no secret."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires: float | None
    warning: str = ""
    """A sentence for the user, or ""."""

    def environment(self) -> dict[str, str]:
        """As variables that boto3 reads; such keys cannot be refreshed."""
        token = {"AWS_SESSION_TOKEN": self.session_token} if self.session_token else {}
        return {
            "AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key, **token
        }  # fmt: skip

    def text(self) -> str:
        """As an AWS `credential_process` prints them; a worker reads them from such a file."""
        value: dict[str, Any] = {
            "Version": 1, "AccessKeyId": self.access_key, "SecretAccessKey": self.secret_key
        }  # fmt: skip
        if self.session_token:
            value["SessionToken"] = self.session_token
        if self.expires is not None:
            value["Expiration"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.expires))
        return json.dumps(value)

    def to_file(self, path: Path) -> None:
        """Put `text` in place of the file in one step, readable by its owner only (0600).

        A worker with MIMIR_CREDENTIALS_FILE takes up a replaced file at its next request.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_file.write(path, self.text().encode(), 0o600)
        except OSError as error:
            raise BadInput(f"cannot write the credentials file {path}: {error.strerror}") from None


def of_environment(environ: Mapping[str, str]) -> Credentials:
    """The keys that stand in an order's environment; BadInput if there are none."""
    if not environ.get("AWS_ACCESS_KEY_ID") or not environ.get("AWS_SECRET_ACCESS_KEY"):
        raise BadInput(
            "the order holds no keys to the store: order it by `python -m launch submit`"
        )
    return Credentials(
        environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"],
        environ.get("AWS_SESSION_TOKEN", ""), None,
    )  # fmt: skip


def of_role(role: str = "") -> AssumeRole | Federation:
    """Keys of this role or of $MIMIR_ROLE_ARN; GetFederationToken if neither names one.

    Raises:
        BadInput: that is no role's ARN.
    """
    role = role or os.environ.get("MIMIR_ROLE_ARN", "")
    return AssumeRole(role) if role else Federation()


def for_machine(
    spec: AttemptSpec, source: KeySource, *, foreign: bool, clock: Callable[[], float] = time.time
) -> Credentials | None:
    """Keys for the machine of an attempt; None if it needs none or has this computer's own.

    Own keys leave this computer only on the user's explicit word. `foreign`: the machine is
    somebody else's. Raises as `mint`.
    """
    if not spec.store.startswith("s3://"):
        return None
    role = source.role or os.environ.get("MIMIR_ROLE_ARN", "")
    if not (source.static or role or foreign):
        return None
    how: How = StaticKeys() if source.static else of_role(role)
    lifetime = spec.deadline - clock() if spec.deadline else NO_DEADLINE
    return mint(spec.store, spec.run, spec.attempt, lifetime, how, clock, spec.sweep)


def mint(
    store_url: str,
    run: str,
    attempt: int,
    lifetime_s: float,
    how: How,
    clock: Callable[[], float] = time.time,
    sweep: str = "",
) -> Credentials:
    """Keys for one attempt of a run in an S3 store, signed for by the laptop's own keys.

    Args:
        store_url: s3://…; STS is asked at its endpoint, or at $AWS_ENDPOINT_URL_STS, or at AWS.
        lifetime_s: seconds until the job's deadline; the keys outlive it by half an hour where
            STS allows that, else `warning` of the result says when they end.
        clock: unix seconds.
        sweep: to which the run belongs, "" for none.

    Raises:
        BadInput: the store needs no keys, or STS cannot grant this.
        StoreDenied: the laptop's own keys are missing, wrong, or may not do this.
        StoreError: STS does not answer.
    """
    if not store_url.startswith("s3://"):
        raise BadInput(f"the store {store_url} needs no keys: they are made for s3:// stores")
    bucket = parse_url(store_url)
    if isinstance(how, StaticKeys):
        return _own()
    text = policy.of_attempt(bucket.name, bucket.prefix, run, attempt, how.partition, sweep)
    wanted = lifetime_s + deadlines.KEYS_OUTLIVE
    seconds = int(min(max(wanted, SHORTEST_LIFE), how.longest_s))
    answer = _ask(bucket.endpoint, bucket.region, how, f"mimir-{run}-{attempt}"[:64], text, seconds)
    expires = _unix(answer["Expiration"], clock() + seconds)
    return Credentials(
        answer["AccessKeyId"],
        answer["SecretAccessKey"],
        answer["SessionToken"],
        expires,
        _shortfall(run, expires - clock(), lifetime_s),
    )


def _ask(
    endpoint: str, region: str, how: AssumeRole | Federation, session: str, text: str, seconds: int
) -> Mapping[str, Any]:
    # Here, because boto3 takes a quarter of a second that `--help` does not have.
    from botocore.config import Config
    from botocore.exceptions import ClientError

    from mimir.runs import s3_client

    place = os.environ.get("AWS_ENDPOINT_URL_STS") or endpoint or None
    try:
        sts = s3_client.session().client(
            "sts",
            endpoint_url=place,
            region_name=region if region and region != "auto" else "us-east-1",
            config=Config(connect_timeout=10, read_timeout=30, retries={"mode": "standard"}),
        )
        try:
            answer = how.ask(sts, session, text, seconds)
        except ClientError as error:
            # A role's sessions last an hour unless its owner allows more, and we may not ask
            # the role. The shorter life is told to the user.
            if seconds <= ROLE_DEFAULT or not _is_about_time(error):
                raise
            answer = how.ask(sts, session, text, ROLE_DEFAULT)
        found = answer["Credentials"]
        return {name: found[name] for name in _GIVEN}
    except Exception as error:  # noqa: BLE001 - what boto3 and an answer can raise, all of it
        raise _explained(error, place or "AWS STS", how, seconds) from None


def _is_about_time(error: Any) -> bool:
    """It may be: AWS says ValidationError, Ceph a nameless 400."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status == 400 and error.response.get("Error", {}).get("Code") in (
        "ValidationError", "InvalidRequest", "InvalidArgument", "", None, "400", "Unknown"
    )  # fmt: skip


def _explained(error: Exception, place: str, how: How, seconds: int) -> Exception:
    """One sentence. The server's own text is left out: it may repeat keys."""
    from botocore.exceptions import ClientError

    from mimir.runs import s3_failures

    cannot = f"cannot make keys for the machine at {place}"
    instead = (
        "or send your own keys by --static-keys, best ones that reach nothing but this store's "
        "bucket"
    )
    if not isinstance(error, ClientError):
        return s3_failures.explain(error, cannot, place)
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in ("InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidAccessKeyId"):
        return StoreDenied(f"{cannot}: it does not accept your own keys ({code}); check them")
    if code in ("ExpiredToken", "ExpiredTokenException", "InvalidToken"):
        return StoreDenied(f"{cannot}: your own credentials have expired; sign in again")
    if code == "AccessDenied":
        way = (
            f"its trust policy must allow you to assume {how.arn}"
            if isinstance(how, AssumeRole)
            else "an IAM user with sts:GetFederationToken is needed, or a role by --role ARN"
        )
        return StoreDenied(f"{cannot}: your own keys may not do this; {way}, {instead}")
    if code == "ValidationError":
        return BadInput(
            f"{cannot}: it refused the request for {seconds / 3600:.1f} h; raise the role's "
            f"maximum session duration or set a shorter deadline, {instead}"
        )
    if code in ("PackedPolicyTooLarge", "PackedPolicyTooLargeException", "MalformedPolicyDocument"):
        return BadInput(f"{cannot}: it refused the policy ({code}); use a shorter store prefix")
    if status >= 500 and status != 501:
        return StoreError(f"{cannot}: it is failing ({code or status}); try again later")
    return BadInput(
        f"{cannot}: it does not offer this ({code or status}); use a role by --role ARN where the "
        f"server has roles, {instead}"
    )


def _own() -> Credentials:
    """The keys that boto3 finds here."""
    from mimir.runs import s3_client

    found = s3_client.session().get_credentials()
    keys = found.get_frozen_credentials() if found else None
    if keys is None or not keys.access_key or not keys.secret_key:
        raise StoreDenied(
            "no credentials were found here; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return Credentials(
        keys.access_key,
        keys.secret_key,
        keys.token or "",
        None,
        "warning: your own keys go to the machine, with all that they allow and until you "
        "withdraw them; whoever runs that machine can read them",
    )


def _shortfall(run: str, life_s: float, lifetime_s: float) -> str:
    if life_s + 60 >= lifetime_s:  # STS counts from a moment ago
        return ""
    return (
        f"the keys for run {run} end after {life_s / 3600:.1f} h and the job may take "
        f"{lifetime_s / 3600:.1f} h: put fresh ones into the machine's credentials file before "
        "then; training goes on without keys for a while, but commits nothing"
    )


def _unix(expiration: Any, otherwise: float) -> float:
    return float(expiration.timestamp()) if hasattr(expiration, "timestamp") else otherwise
