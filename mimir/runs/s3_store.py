"""A store in an S3 bucket: `s3://bucket/prefix?endpoint=https://...&region=...`.

Works with AWS, Cloudflare R2, MinIO, Ceph and others that honour If-None-Match and If-Match on
PutObject; `probe` finds out which do. A version is the ETag without quotes. RFC 9110 wants it
quoted in If-Match; Ceph compares it literally with its unquoted one, so that a quoted ETag
never matches there. `compare_and_swap` learns the form that works and then stays with it.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

import boto3.session
import botocore.session
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from mimir.errors import BadInput, Conflict, Corrupt, NotFound, StoreDenied, StoreError
from mimir.runs.s3_content import PART, TRANSFER, Bounded, bounded, etag, opened, sha256
from mimir.runs.s3_credentials import file_resolver
from mimir.runs.s3_errors import translate
from mimir.runs.s3_url import Bucket, parse_url
from mimir.runs.store import (
    DOCUMENT,
    Progress,
    Stored,
    Versioned,
    check_key,
    too_large,
    verify,
)

__all__ = ["TRANSFER", "S3Store", "open_url"]

T = TypeVar("T")

_READS = 4
_FAILURES = (ClientError, BotoCoreError, HTTPClientError, Boto3Error)


def open_url(url: str, credentials_file: Path | None = None) -> "S3Store":
    """The store at an s3:// URL; makes no request yet.

    An endpoint set by AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL becomes part of the store's URL:
    the machine that opens it later does not have this environment.
    """
    bucket = parse_url(url)
    if not bucket.endpoint:
        found = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        bucket = replace(bucket, endpoint=found)
    return S3Store(bucket, credentials_file)


class S3Store:
    """Objects below a prefix of a bucket."""

    def __init__(
        self,
        bucket: Bucket,
        credentials_file: Path | None = None,
        *,
        connect_timeout: float = 10,
        read_timeout: float = 60,
        tries: int = 5,
    ) -> None:
        self.bucket = bucket
        self.url = bucket.url
        self.etag_form: Callable[[str], str] | None = None
        # AWS checks the checksums that boto3 sends there, and its ETag may be no MD5.
        self._etag_tells = bool(bucket.endpoint)
        session = botocore.session.get_session()
        if credentials_file is not None:
            session.register_component("credential_provider", file_resolver(credentials_file))
        endpoint = bucket.endpoint or None
        shared: dict[str, Any] = {
            "signature_version": "s3v4",
            "connect_timeout": connect_timeout,
            "read_timeout": read_timeout,
            "max_pool_connections": 16,
            "tcp_keepalive": True,
            # R2 and older MinIO refuse the trailing checksums that boto3 sends since 1.36.
            "request_checksum_calculation": "when_required" if endpoint else "when_supported",
            "response_checksum_validation": "when_required" if endpoint else "when_supported",
            "s3": {"addressing_style": bucket.addressing or ("path" if endpoint else "auto")},
        }
        made = boto3.session.Session(botocore_session=session)
        region = bucket.region or ("auto" if endpoint and "r2.cloudflare" in endpoint else None)

        def client(attempts: int) -> Any:
            retries: Any = {"mode": "standard", "total_max_attempts": attempts}
            return made.client(
                "s3",
                endpoint_url=endpoint,
                region_name=region or made.region_name or "us-east-1",
                config=Config(retries=retries, **shared),
            )

        try:
            self._client = client(tries)
            # A conditional write that is retried unseen answers 412 to its own success.
            self._once = client(1)
            self.region = str(self._client.meta.region_name)
        except (BotoCoreError, ValueError) as error:
            raise BadInput(f"the store {self.url} cannot be used: {error}") from error

    def __repr__(self) -> str:
        return f"S3Store({self.url!r})"

    def read(self, key: str, *, limit: int = DOCUMENT) -> Versioned | None:
        try:
            answer = self._sought("read", key, lambda: self._fetch(key, limit))
        except NotFound:
            return None
        return Versioned(*answer)

    def put_if_absent(self, key: str, data: bytes) -> str:
        answer = self._call(
            "create",
            key,
            lambda: self._once.put_object(**self._at(key), Body=data, IfNoneMatch="*"),
        )
        return _bare(answer["ETag"])

    def compare_and_swap(self, key: str, data: bytes, version: str) -> str:
        try:
            return self._swap(key, data, version, self.etag_form or _quoted)
        except Conflict as error:
            if self.etag_form is not None or not _is_precondition(error.__cause__):
                raise
            found = self.read(key)
            if found is None or found.version != version:
                raise
        # Refused although the version is right: this server wants the other form.
        return self._swap(key, data, version, _bare)

    def put_content(
        self, key: str, content: bytes | memoryview | Path, progress: Progress | None = None
    ) -> Stored:
        # The digests are taken beside the upload: one after the other, 328 MiB took a tenth longer.
        with opened(content) as file, ThreadPoolExecutor(2, initializer=_yield_to) as beside:
            digest = beside.submit(sha256, content)
            promised = beside.submit(etag, content) if self._etag_tells else None
            self._call(
                "upload",
                key,
                lambda: self._client.upload_fileobj(
                    file, **self._at(key), Config=TRANSFER, Callback=progress
                ),
            )
            sent = Stored(key, digest.result()[1], digest.result()[0])
            wrong = self._wrong(sent, promised.result() if promised else "")
        if wrong:
            with contextlib.suppress(StoreError):
                self.delete(key)  # else content that lies under its digest would be taken for whole
            raise StoreError(f"{self._name(key)} {wrong}: upload it again")
        return sent

    def put(self, key: str, data: bytes) -> None:
        self._call("write", key, lambda: self._client.put_object(**self._at(key), Body=data))

    def get(
        self,
        key: str,
        *,
        size: int | None = None,
        sha256: str | None = None,
        limit: int = DOCUMENT,
        progress: Progress | None = None,
    ) -> bytes:
        if size is None or size <= PART:
            most = limit if size is None else size
            data = self._sought("read", key, lambda: self._fetch(key, most))[0]
            if progress:
                progress(len(data))
        else:
            into = Bounded(key, size)
            self._sought(
                "download",
                key,
                lambda: self._client.download_fileobj(
                    **self._at(key), Fileobj=into, Config=TRANSFER, Callback=progress
                ),
            )
            data = into.getvalue()
        return verify(data, key, size, sha256)

    def list(self, prefix: str) -> Iterator[str]:
        return iter(sorted(self._pages(prefix, "", "Contents", "Key")))

    def folders(self) -> Iterator[str]:
        found = self._pages("", "/", "CommonPrefixes", "Prefix")
        return iter(sorted(name.rstrip("/") for name in found))

    def delete(self, key: str) -> None:
        self._call("delete", key, lambda: self._client.delete_object(**self._at(key)))

    def server_time(self) -> float:
        """The server's clock in unix s, to the second: requests are refused if ours is far off."""
        ask = self._client.list_objects_v2
        listed = self._call("list", "", lambda: ask(Bucket=self.bucket.name, MaxKeys=1))
        date = listed["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        return parsedate_to_datetime(date).timestamp() if date else time.time()

    def presign(self, key: str, seconds: float) -> str:
        """A URL by which anyone may GET the object, for at most this long; signed here, no request.

        AWS takes up to seven days; keys that end sooner take their URLs with them.
        """
        sign, what, life = self._client.generate_presigned_url, self._at(key), int(seconds)
        return str(self._call("sign for", key, lambda: sign("get_object", what, life)))

    def _wrong(self, sent: Stored, promised: str) -> str:
        """What is wrong with an object just uploaded, or "". promised: its ETag, "" for any."""
        location = self._at(sent.key)
        found = self._call("check", sent.key, lambda: self._client.head_object(**location))
        if found["ContentLength"] != sent.size:
            return f"has {found['ContentLength']} bytes after {sent.size} were uploaded"
        if not promised or _bare(found["ETag"]) == promised:
            return ""
        # Other bytes, or an ETag that is no MD5, as where a server encrypts: a look tells.
        try:
            self.get(sent.key, size=sent.size, sha256=sent.sha256)
        except Corrupt:
            return "holds other bytes than were uploaded"
        self._etag_tells = False
        return ""

    def _swap(self, key: str, data: bytes, version: str, form: Callable[[str], str]) -> str:
        try:
            answer = self._call(
                "replace",
                key,
                lambda: self._once.put_object(**self._at(key), Body=data, IfMatch=form(version)),
            )
        except NotFound as error:
            raise Conflict(f"{self._name(key)} does not exist, it was to be replaced") from error
        self.etag_form = form
        return _bare(answer["ETag"])

    def _fetch(self, key: str, limit: int) -> tuple[bytes, str]:
        for left in reversed(range(_READS)):
            answer = self._client.get_object(**self._at(key))
            try:
                # Not `with answer["Body"]`: that gives the raw stream, which takes a body that
                # broke off for a whole one or raises what is not boto3's.
                with contextlib.closing(answer["Body"]) as body:
                    data = bounded(body, limit)
                if data is None:
                    raise too_large(self._name(key), answer.get("ContentLength"), limit)
                return data, _bare(answer["ETag"])
            except (BotoCoreError, HTTPClientError):
                # boto3 tries requests again, but not a body that broke off on its way.
                if not left:
                    raise
        raise AssertionError

    def _sought(self, action: str, key: str, request: Callable[[], T]) -> T:
        """`request`, with NotFound for a missing object also where S3 answers 403 for it.

        So it does for keys that may list only below a prefix: to tell that an object is
        missing it asks for leave to list the bucket, where no prefix is given. Our listing
        names one.
        """
        try:
            return self._call(action, key, request)
        except StoreDenied as error:
            if not _is_denial(error.__cause__) or self._listed(key):
                raise
            raise NotFound(f"cannot {action} {self._name(key)}: there is no such object") from error

    def _listed(self, key: str) -> bool:
        """Whether a listing shows the object; True if there can be none."""
        try:
            return key in self._pages(key, "", "Contents", "Key")
        except StoreError:
            return True

    def _pages(self, prefix: str, delimiter: str, part: str, name: str) -> Iterator[str]:
        root = f"{self.bucket.prefix}/" if self.bucket.prefix else ""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket.name, Prefix=root + prefix, Delimiter=delimiter
        )

        def found() -> list[str]:
            return [entry[name][len(root) :] for page in pages for entry in page.get(part, ())]

        return iter(self._call("list", prefix, found))

    def _at(self, key: str) -> dict[str, str]:
        check_key(key)
        root = f"{self.bucket.prefix}/" if self.bucket.prefix else ""
        return {"Bucket": self.bucket.name, "Key": root + key}

    def _name(self, key: str) -> str:
        return "/".join(
            part for part in ("s3:/", self.bucket.name, self.bucket.prefix, key) if part
        )

    def _call(self, action: str, key: str, request: Callable[[], T]) -> T:
        try:
            return request()
        except _FAILURES as error:
            raise translate(error, action, self._name(key), self.bucket.endpoint) from error


def _yield_to() -> None:
    """Let this thread have what processor time training and the upload leave over (on Linux)."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _is_precondition(error: BaseException | None) -> bool:
    if not isinstance(error, ClientError):
        return False
    status: int | None = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status == 412


def _is_denial(error: BaseException | None) -> bool:
    """Of the object alone: not of the keys themselves."""
    if not isinstance(error, ClientError):
        return False
    code: str | None = error.response.get("Error", {}).get("Code")
    return code in ("AccessDenied", "403")


def _quoted(etag: str) -> str:
    return f'"{etag}"'


def _bare(etag: str) -> str:
    return etag.strip('"')
