"""Makes boto3's clients for a bucket, and finds out which server and region they really use.

Endpoint and region may be set in the store's URL, in AWS_* variables, in a profile or in a
services section of ~/.aws/config. A rented machine has only the URL. So what is set elsewhere
becomes part of it, or the laptop would talk to one server and the machine, once paid for, to
another.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3.session
import botocore.session
from botocore.config import Config

from mimir.errors import BadInput
from mimir.runs import s3_answers, s3_failures
from mimir.runs.s3_credentials import ToldResolver, file_resolver
from mimir.runs.s3_url import Bucket


@dataclass(frozen=True)
class Clients:
    """How a bucket is talked to.

    bucket: with the endpoint and region that are used. patient: tries again by itself. once: never
    does, because a conditional write that is retried unseen answers 412 to its own success.
    make: another one, of so many tries and seconds to connect.
    """

    bucket: Bucket
    patient: Any
    once: Any
    region: str
    make: Callable[[int, float], Any]


def connect(
    bucket: Bucket,
    credentials_file: Path | None,
    *,
    connect_timeout: float,
    read_timeout: float,
    tries: int,
) -> Clients:
    """Clients for the bucket; no request is made, but a `credential_process` may run.

    Raises:
        BadInput: the AWS configuration cannot be used.
        StoreDenied: it gives no credentials.
    """
    try:
        return _connect(bucket, credentials_file, connect_timeout, read_timeout, tries)
    except Exception as error:
        cannot = f"the store {bucket.url} cannot be used"
        raise s3_failures.configuration(error, cannot) from error


def _connect(
    bucket: Bucket,
    credentials_file: Path | None,
    connect_timeout: float,
    read_timeout: float,
    tries: int,
) -> Clients:
    made = _session(credentials_file)
    if not bucket.endpoint:
        bucket = replace(bucket, endpoint=_configured(made))
    if not bucket.region and made.region_name:
        bucket = replace(bucket, region=made.region_name)
    endpoint = bucket.endpoint or None
    shared: dict[str, Any] = {
        "signature_version": "s3v4",
        "read_timeout": read_timeout,
        "max_pool_connections": 32,  # as many requests as a listing of runs has at once
        "tcp_keepalive": True,
        # R2 and older MinIO refuse the trailing checksums that boto3 sends since 1.36.
        "request_checksum_calculation": "when_required" if endpoint else "when_supported",
        "response_checksum_validation": "when_required" if endpoint else "when_supported",
        "s3": {"addressing_style": bucket.addressing or ("path" if endpoint else "auto")},
        "ignore_configured_endpoint_urls": True,  # what was found stands in `endpoint`
    }
    region = bucket.region or ("auto" if endpoint and "r2.cloudflare" in endpoint else "us-east-1")

    def client(attempts: int, connect_timeout: float) -> Any:
        retries: Any = {"mode": "standard", "total_max_attempts": attempts}
        config = Config(retries=retries, connect_timeout=connect_timeout, **shared)
        found = made.client("s3", endpoint_url=endpoint, region_name=region, config=config)
        s3_answers.watch(found, attempts)
        return found

    patient, once = (client(attempts, connect_timeout) for attempts in (tries, 1))
    return Clients(bucket, patient, once, region, client)


def session() -> boto3.session.Session:
    """boto3's session of this environment, whose keys come or fail as `connect` says."""
    try:
        return _session(None)
    except Exception as error:
        raise s3_failures.configuration(error, "AWS cannot be asked") from error


def _session(credentials_file: Path | None) -> boto3.session.Session:
    found = botocore.session.get_session()
    chain = (
        file_resolver(credentials_file)
        if credentials_file is not None
        else ToldResolver(found.get_component("credential_provider"))
    )
    found.register_component("credential_provider", chain)
    return boto3.session.Session(botocore_session=found)


def _configured(made: boto3.session.Session) -> str:
    """The endpoint that the environment or the AWS configuration sets; "" for AWS's own.

    boto3 is asked what it would use, with and without what is configured, so that no rule of it
    has to be known here.
    """

    def used(**options: Any) -> str:
        region = made.region_name or "us-east-1"
        found = made.client("s3", region_name=region, config=Config(**options))
        url = str(found.meta.endpoint_url)
        found.close()
        return url

    url = used()
    if url == used(ignore_configured_endpoint_urls=True):
        return ""
    try:
        return Bucket("any", endpoint=url).endpoint
    except BadInput as error:
        raise BadInput(
            f"an endpoint that is set outside the store URL cannot be used ({error}); correct "
            "AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or endpoint_url in ~/.aws/config"
        ) from error
