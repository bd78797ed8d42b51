"""A store in an S3 bucket: `s3://bucket/prefix?endpoint=https://...&region=...`.

Works with AWS, Cloudflare R2, MinIO, Ceph and others that honour If-None-Match and If-Match on
PutObject; `probe` finds out which do. A version is the ETag without quotes. RFC 9110 wants it
quoted in If-Match; Ceph compares it literally with its unquoted one, so that a quoted ETag
never matches there. `compare_and_swap` learns the form that works and then stays with it.
"""

import contextlib
import copy
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from mimir.errors import Conflict, Corrupt, NotFound, StoreDenied, StoreError
from mimir.runs.s3_address import addresses, pin
from mimir.runs.s3_client import connect
from mimir.runs.s3_clock import ServerClock
from mimir.runs.s3_content import PART, TRANSFER, Bounded, bounded, etag, opened, sha256
from mimir.runs.s3_errors import ABSENT, code_of, status_of, told
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

T = TypeVar("T")

_READS = 4


def open_url(url: str, credentials_file: Path | None = None) -> "S3Store":
    """The store at an s3:// URL; makes no request yet.

    Its own URL names the endpoint and region that are used, wherever they were set: the machine
    that opens it later has neither this environment nor this AWS configuration.
    """
    return S3Store(parse_url(url), credentials_file)


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
        clients = connect(
            bucket, credentials_file, connect_timeout=connect_timeout, read_timeout=read_timeout,
            tries=tries,
        )  # fmt: skip
        self._client, self._once, self._make = clients.patient, clients.once, clients.make
        self.bucket, self.region = clients.bucket, clients.region
        self.url = self.bucket.url
        self.etag_form: Callable[[str], str] | None = None
        # AWS checks the checksums that boto3 sends there, and its ETag may be no MD5.
        self._etag_tells = bool(self.bucket.endpoint)
        self._clock = ServerClock()
        for each in (self._client, self._once):
            each.meta.events.register("after-call.s3", self._clock.hear)

    def __repr__(self) -> str:
        return f"S3Store({self.url!r})"

    def now(self) -> float:
        """The server's clock, as its last answer told it: mostly it costs no request."""
        told = self._clock.now()
        if told is not None:
            return told
        ask = self._client.list_objects_v2
        why = StoreError(f"{self._name('')} does not tell the time: its answers have no Date")
        try:
            self._call("list", "", lambda: ask(Bucket=self.bucket.name, MaxKeys=1))
        except StoreDenied as error:  # which is an answer too, unless it was a stranger's
            why = error
        told = self._clock.now()
        if told is None:
            raise why
        return told

    def read(self, key: str, *, limit: int = DOCUMENT) -> Versioned | None:
        try:
            return self._sought("read", key, lambda: self._fetch(key, limit))
        except NotFound:
            return None

    def put_if_absent(self, key: str, data: bytes) -> str:
        at, create = self._at(key), self._once.put_object
        return self._call(
            "create", key, lambda: _bare(create(**at, Body=data, IfNoneMatch="*")["ETag"])
        )

    def compare_and_swap(self, key: str, data: bytes, version: str) -> str:
        try:
            return self._swap(key, data, version, self.etag_form or _quoted)
        except Conflict as error:
            if self.etag_form is not None or status_of(error.__cause__) != 412:
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
        at = self._at(key)
        with opened(content) as file, ThreadPoolExecutor(2, initializer=_yield_to) as beside:
            digest = beside.submit(sha256, content)
            promised = beside.submit(etag, content) if self._etag_tells else None
            self._call(
                "upload",
                key,
                lambda: self._client.upload_fileobj(file, **at, Config=TRANSFER, Callback=progress),
            )
            sent = Stored(key, digest.result()[1], digest.result()[0])
            wrong = self._wrong(sent, promised.result() if promised else "")
        if wrong:
            with contextlib.suppress(StoreError):
                self.delete(key)  # else content that lies under its digest would be taken for whole
            raise StoreError(f"{self._name(key)} {wrong}: upload it again")
        return sent

    def put(self, key: str, data: bytes) -> None:
        at = self._at(key)
        self._call("write", key, lambda: self._client.put_object(**at, Body=data))

    def get(
        self,
        key: str,
        *,
        size: int | None = None,
        sha256: str | None = None,
        limit: int = DOCUMENT,
        progress: Progress | None = None,
    ) -> bytes:
        at = self._at(key)
        if size is None or size <= PART:
            most = limit if size is None else size
            data = self._sought("read", key, lambda: self._fetch(key, most)).data
            if progress:
                progress(len(data))
        else:
            into = Bounded(key, size)
            self._sought(
                "download",
                key,
                lambda: self._client.download_fileobj(
                    **at, Fileobj=into, Config=TRANSFER, Callback=progress
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
        at = self._at(key)
        self._call("delete", key, lambda: self._client.delete_object(**at))

    def presign(self, key: str, seconds: float) -> str:
        """A URL by which anyone may GET the object, for at most this long; signed here, no request.

        AWS takes up to seven days; keys that end sooner take their URLs with them.
        """
        sign, what, life = self._client.generate_presigned_url, self._at(key), int(seconds)
        return str(self._call("sign for", key, lambda: sign("get_object", what, life)))

    def by_address(self) -> "Sequence[S3Store]":
        """This store through each address of its server's name; itself if that tells none apart."""
        with told("find the server of", self._name(""), self.bucket.endpoint):
            found = addresses(self._client.generate_presigned_url("put_object", self._at("x")))
        if len(found) < 2:
            return [self]
        ways = []
        for address in found:
            way = copy.copy(self)
            # One that is not reached must not cost a minute.
            way._client, way._once = self._make(2, 5.0), self._make(1, 5.0)
            for client in (way._client, way._once):
                pin(client, address)
            ways.append(way)
        return ways

    def _wrong(self, sent: Stored, promised: str) -> str:
        """What is wrong with an object just uploaded, or "". promised: its ETag, "" for any."""
        at, ask = self._at(sent.key), self._client.head_object

        def there() -> tuple[int, str]:
            found = ask(**at)
            return found["ContentLength"], _bare(found["ETag"])

        size, found = self._call("check", sent.key, there)
        if size != sent.size:
            return f"has {size} bytes after {sent.size} were uploaded"
        if not promised or found == promised:
            return ""
        # Other bytes, or an ETag that is no MD5, as where a server encrypts: a look tells.
        try:
            self.get(sent.key, size=sent.size, sha256=sent.sha256)
        except Corrupt:
            return "holds other bytes than were uploaded"
        self._etag_tells = False
        return ""

    def _swap(self, key: str, data: bytes, version: str, form: Callable[[str], str]) -> str:
        at, replace = self._at(key), self._once.put_object
        try:
            made = self._call(
                "replace",
                key,
                lambda: _bare(replace(**at, Body=data, IfMatch=form(version))["ETag"]),
            )
        except NotFound as error:
            raise Conflict(f"{self._name(key)} does not exist, it was to be replaced") from error
        self.etag_form = form
        return made

    def _fetch(self, key: str, limit: int) -> Versioned:
        at = self._at(key)
        for left in reversed(range(_READS)):
            answer = self._client.get_object(**at)
            version, written = _bare(answer["ETag"]), answer["LastModified"].timestamp()
            try:
                # Not `with answer["Body"]`: that gives the raw stream, which takes a body that
                # broke off for a whole one or raises what is not boto3's.
                with contextlib.closing(answer["Body"]) as body:
                    data = bounded(body, limit)
                break
            except Exception:
                # boto3 tries requests again, but not a body that broke off on its way, for which
                # botocore, urllib3 and ssl each have classes of their own.
                if not left:
                    raise
        if data is None:
            raise too_large(self._name(key), answer.get("ContentLength"), limit)
        return Versioned(data, version, written)

    def _sought(self, action: str, key: str, request: Callable[[], T]) -> T:
        """`request`, with NotFound for a missing object and for nothing else.

        S3 answers 403 for it to keys that may list only below a prefix: to tell that an object
        is missing it asks for leave to list the bucket, where no prefix is given. And a 404
        that does not say what is missing may come from anything between. Our listing names a
        prefix, and tells.
        """
        check_key(key)
        try:
            return self._call(action, key, request)
        except StoreDenied as error:
            # Of the object alone: not of the keys themselves.
            if code_of(error.__cause__) not in ("AccessDenied", "403") or self._listed(key):
                raise
            raise NotFound(f"cannot {action} {self._name(key)}: there is no such object") from error
        except NotFound as error:
            if code_of(error.__cause__) in ABSENT or not self._shows(key):
                raise
            raise StoreError(
                f"cannot {action} {self._name(key)}: the server shows it in a listing, but "
                "answers that it is not there; try again"
            ) from error

    def _listed(self, key: str) -> bool:
        """Whether a listing shows the object; True if there can be none."""
        try:
            return self._shows(key)
        except StoreError:
            return True

    def _shows(self, key: str) -> bool:
        return key in self._pages(key, "", "Contents", "Key")

    def _pages(self, prefix: str, delimiter: str, part: str, name: str) -> Iterator[str]:
        root = f"{self.bucket.prefix}/" if self.bucket.prefix else ""
        paged = self._client.get_paginator

        def found() -> list[str]:
            pages = paged("list_objects_v2").paginate(
                Bucket=self.bucket.name, Prefix=root + prefix, Delimiter=delimiter
            )
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
        with told(action, self._name(key), self.bucket.endpoint):
            return request()


def _yield_to() -> None:
    """Let this thread have what processor time training and the upload leave over (on Linux)."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _quoted(etag: str) -> str:
    return f'"{etag}"'


def _bare(etag: str) -> str:
    return etag.strip('"')
