"""Whose AWS account it is, which of its regions count, and requests that are sent once or again.

The keys of an S3 store need not be AWS's (R2, B2, MinIO), so they are never taken for an account
that rents: $MIMIR_AWS_PROFILE says which keys are meant.
"""

import contextlib
import functools
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from launch.contract.errors import AuthFailed, ProviderError, RateLimited, UnknownOutcome
from launch.contract.redaction import Secrets
from launch.providers.aws import errors
from launch.providers.readable import readable
from mimir.connections import BAD_CHARACTERS, sendable
from mimir.errors import BadInput, MimirError

T = TypeVar("T")

ENVIRONMENT = "environment"
"""The value of $MIMIR_AWS_PROFILE that means AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""
REGIONS = "MIMIR_AWS_REGIONS"
"""Names the regions that are used, where not all of the account are to be (or may be) asked."""
HOME = "us-east-1"
"""Where the account's regions and prices are asked for, unless the profile has a region."""
PRICES = "us-east-1"
"""AWS tells prices of all regions in this one."""
AT_ONCE = 16
"""Regions that are asked at the same time."""
READ_TRIES = 4
PAGES = 400
"""After which a list that has no end is an error."""
CONNECT_WITHIN, ANSWER_WITHIN = 10.0, 60.0
"""Seconds. RunInstances was seen by others to take half a minute."""


class Account:
    """An AWS account as boto3 reaches it.

    Args:
        profile: a profile of ~/.aws/config, or ENVIRONMENT.
        environ: holds the keys for ENVIRONMENT, and REGIONS.
        url: one address for all of AWS's services (tests), "" for AWS's own.
    """

    def __init__(
        self, profile: str, environ: Mapping[str, str], url: str, secrets: Secrets,
        sleep: Callable[[float], None],
    ) -> None:  # fmt: skip
        self._profile, self._environ, self._url = profile, environ, url
        self._secrets, self._sleep = secrets, sleep
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}
        self._session: Any = None
        self._number = ""

    @property
    def number(self) -> str:
        """The account's number, asked for once. It needs no right that an account can refuse."""
        if not self._number:
            answer = self.read("sts", self.home, "get_caller_identity")
            found = str(answer.get("Account") or "")
            if not re.fullmatch("[0-9]{12}", found):
                raise ProviderError("AWS's answer holds no number of an account: try again later")
            self._number = found
        return self._number

    def regions(self) -> list[str]:
        """Those that are used: named by the user, else all that the account has opted in to."""
        return self._given() or self.every_region()

    def _given(self) -> list[str]:
        words = [word.strip() for word in self._environ.get(REGIONS, "").split(",")]
        return sorted({check_region(word) for word in words if word})

    def every_region(self) -> list[str]:
        """All that the account has opted in to, and those that are named."""
        given = self._given()
        wanted = [{"Name": "opt-in-status", "Values": ["opt-in-not-required", "opted-in"]}]
        try:
            answer = self.read("ec2", self.home, "describe_regions", Filters=wanted)
        except AuthFailed:
            if not given:
                raise
            return given
        found = set(texts(held(answer, "Regions"), "RegionName"))
        if not found:
            raise ProviderError("AWS lists no region for this account: ask again")
        return sorted(found | set(given))

    @property
    def home(self) -> str:
        """The region for what is not of one region."""
        return next(iter(self._given()), "") or self._made().region_name or HOME

    def each(self, regions: Sequence[str], ask: Callable[[str], T]) -> dict[str, T | MimirError]:
        """What `ask` finds in each region, all asked at once; its error where it fails."""

        def one(region: str) -> T | MimirError:
            try:
                with readable("AWS"):
                    return ask(region)
            except MimirError as error:
                return error

        with ThreadPoolExecutor(min(AT_ONCE, max(1, len(regions)))) as pool:
            return dict(zip(regions, pool.map(one, regions), strict=True))

    def read(self, service: str, region: str, operation: str, **params: Any) -> dict[str, Any]:
        """A request that changes nothing, tried again after what may pass."""
        pause = 0.5
        for left in reversed(range(READ_TRIES)):
            wait = pause
            try:
                return self._ask(service, region, operation, params)
            except UnknownOutcome as error:
                failure: ProviderError = ProviderError(f"{error}: try again later")
            except RateLimited as error:
                failure, wait = error, max(pause, error.retry_after)
            if not left:
                raise failure
            self._sleep(wait)
            pause *= 2
        raise AssertionError("unreachable")

    def pages(
        self, service: str, region: str, operation: str, key: str, **params: Any
    ) -> list[dict[str, Any]]:
        """All rows of a list; an error if one of its pages cannot be read."""
        rows: list[dict[str, Any]] = []
        seen: set[str] = set()
        token = ""
        for _ in range(PAGES):
            more = {"NextToken": token} if token else {}
            answer = self.read(service, region, operation, **params, **more)
            rows += held(answer, key)
            token = str(answer.get("NextToken") or "")
            if not token:
                return rows
            if token in seen:
                break
            seen.add(token)
        raise ProviderError(f"AWS's list of {key} in {region} has no end: ask again")

    def send(self, service: str, region: str, operation: str, **params: Any) -> dict[str, Any]:
        """A request that changes something: exactly one is sent."""
        return self._ask(service, region, operation, params)

    def _ask(
        self, service: str, region: str, operation: str, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        what = f"{''.join(word.title() for word in operation.split('_'))} in {region}"
        try:
            client = self._client(service, region)
            answer: dict[str, Any] = getattr(client, operation)(**params)
            return answer
        except Exception as error:  # noqa: BLE001 - all that boto3 raises; told apart below
            self._learn_keys()
            found = errors.explain(error, what, self._secrets)
        raise found  # out here, because boto3's own error repeats what the service said

    def _learn_keys(self) -> None:
        """Those of a profile, which boto3 may renew: whatever is told of an error holds none."""
        if self._profile == ENVIRONMENT or self._session is None:
            return
        with contextlib.suppress(Exception):  # without keys there are none to hide
            keys = self._session.get_credentials().get_frozen_credentials()
            for value in (keys.access_key, keys.secret_key, keys.token):
                if value:
                    self._secrets.learn_key(value)

    def _client(self, service: str, region: str) -> Any:
        from botocore.config import Config

        with self._lock:  # a session makes one client at a time
            made = self._clients.get((service, region))
            if made is None:
                config = Config(
                    # boto3's own tries would order again after InsufficientInstanceCapacity.
                    retries={"mode": "standard", "total_max_attempts": 1},
                    connect_timeout=CONNECT_WITHIN, read_timeout=ANSWER_WITHIN,
                    # AWS_ENDPOINT_URL is the store's, not EC2's.
                    ignore_configured_endpoint_urls=True,
                    max_pool_connections=4,
                )  # fmt: skip
                made = self._made().client(
                    service, region_name=region, endpoint_url=self._url or None, config=config
                )
                self._clients[service, region] = made
            return made

    def _made(self) -> Any:
        if self._session is None:
            self._session = self._opened()
        return self._session

    def _opened(self) -> Any:
        # Here, because boto3 takes a quarter of a second that `--help` does not have.
        import boto3.session
        import botocore.session

        words: dict[str, str] = {}
        if self._profile == ENVIRONMENT:
            names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
            for name in names:
                value = self._environ.get(name, "").strip()
                if not value and name != names[2]:
                    raise AuthFailed(
                        f"$MIMIR_AWS_PROFILE is {ENVIRONMENT}, but ${name} is not set: set it, or "
                        "name a profile of ~/.aws/config"
                    )
                if not sendable(value):
                    raise AuthFailed(f"${name} holds {BAD_CHARACTERS}: copy it again")
                words[name.lower()] = value
            words = {name: value for name, value in words.items() if value}
            for value in words.values():
                self._secrets.learn_key(value)
        try:
            inner = botocore.session.Session(profile=None if words else self._profile)
            inner.register_component("data_loader", _loader())
            made = boto3.session.Session(botocore_session=inner, **words)
            _ = made.region_name  # reads the configuration, in which the profile may be missing
            return made
        except Exception as error:
            raise errors.explain(error, "its configuration", self._secrets) from error


def whole(found: Mapping[str, T | MimirError]) -> list[T]:
    """What all regions answered; the first error if one of them did not."""
    for each in found.values():
        if isinstance(each, MimirError):
            raise each
    return [each for each in found.values() if not isinstance(each, MimirError)]


def held(answer: Mapping[str, Any], key: str) -> list[Any]:
    """The list of an answer; ProviderError if there is none: no list is no empty list."""
    rows = answer.get(key)
    if not isinstance(rows, list):
        raise ProviderError(f"AWS's answer holds no {key}: try again later")
    return rows


def texts(rows: Iterable[Mapping[str, Any]], key: str) -> list[str]:
    """The text that each row has there; ProviderError where one has none."""
    found = [row.get(key) for row in rows]
    missing = [each for each in found if not isinstance(each, str) or not each]
    if missing:
        raise ProviderError(f"AWS's answer holds a row without {key}: try again later")
    return [str(each) for each in found]


def named(values: Iterable[str], name: str) -> dict[str, Any]:
    """A filter as EC2 takes it."""
    return {"Name": name, "Values": list(values)}


def check_region(region: str) -> str:
    """It, if it can be a region's name."""
    if not re.fullmatch(r"[a-z]{2,}(-[a-z0-9]+){2,}", region):
        raise BadInput(f"{region!r} is not the name of an AWS region, such as eu-central-1")
    return region


@functools.cache
def _loader() -> Any:
    """botocore's descriptions of the services: megabytes, read once for all accounts."""
    from botocore.loaders import create_loader

    return create_loader()
