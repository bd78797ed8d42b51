"""Tells an S3 server's whole answers from halves of answers and from those of something else.

botocore believes every answer with status 200. One that was cut off within its headers then has no
ETag (a KeyError far from here), a login page is an empty listing ("there are no runs"), and any
redirect is taken for one to another region, which is looked for without end. So each answer is
looked at where botocore asks whether to try again: its own hook for this, also for the single
parts of a large object.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from typing import Any

from botocore.utils import parse_timestamp

from mimir.runs.s3_errors import ABSENT, WRONG_REGION
from mimir.runs.s3_failures import NoAnswer

_PAUSE = 0.2
"""Seconds before the second try; each further one waits twice as long."""

_PROMISED = {
    "GetObject": ("ETag", "LastModified"),
    "HeadObject": ("ETag", "ContentLength"),
    "PutObject": ("ETag",),
    "UploadPart": ("ETag",),
    "CreateMultipartUpload": ("UploadId",),
    "CompleteMultipartUpload": ("ETag",),
    "ListObjectsV2": ("IsTruncated",),
}
"""What every server says when it has done this. Not the length of what is sent in chunks."""

_TYPED: Mapping[str, Callable[[str], object]] = {
    "last-modified": parse_timestamp, "content-length": int,
}  # fmt: skip
"""Headers that the parser reads as a date or a number."""

_LASTING = ("page", "redirect")


def watch(client: Any, tries: int) -> None:
    """Have each answer that a client gets looked at; one that is none is asked for again.

    After so many tries in all, NoAnswer comes out of the client's method.
    """
    events = client.meta.events
    events.register_first("before-parse.s3", _parsable)

    def judged(
        response: Any, operation: Any, attempts: int, request_dict: Any, **_: Any
    ) -> float | None:
        if response is None:
            return None  # no answer at all: botocore's own business
        http, parsed = response
        if 300 <= http.status_code < 400 and not _names_region(http.headers, parsed):
            # Else botocore asks for the bucket's region, meets the redirect again, and so on.
            request_dict.get("context", {}).setdefault("s3_redirect", {})["redirected"] = True
        found = _fault(http, parsed, operation.name)
        if found is None:
            return None
        http.raw.close()  # of a streamed object nobody would
        if attempts < tries:
            return float(_PAUSE * 2 ** (attempts - 1))
        kind, what = found
        raise NoAnswer(what, lasting=kind in _LASTING and tries > 1)

    events.register_first("needs-retry.s3", judged)


def _parsable(response_dict: dict[str, Any], **_: Any) -> None:
    """Take away a body that is no XML, and a date or number that was cut: the parser would raise
    before anybody may try again, and what is missing then is asked for again."""
    headers = response_dict["headers"]
    for name, read in _TYPED.items():
        try:
            if name in headers:
                read(headers[name])
        except (ValueError, OverflowError, RuntimeError):
            del headers[name]
    body = response_dict["body"]
    if isinstance(body, bytes) and body and response_dict["status_code"] < 300:
        try:
            ElementTree.fromstring(body)
        except (ElementTree.ParseError, ValueError, LookupError, RecursionError):
            response_dict["body"] = b""


def _fault(http: Any, parsed: Mapping[str, Any], operation: str) -> tuple[str, str] | None:
    """(kind, what the server did) of an answer that is none; None for one that is."""
    status = int(http.status_code)
    code = str(parsed.get("Error", {}).get("Code", ""))
    if status < 300:
        return _hollow(http, parsed, operation)
    if status < 400:
        if code in WRONG_REGION or _names_region(http.headers, parsed):
            return None
        return "redirect", f"answered with a redirect ({status}{_target(http.headers)})"
    if status >= 500 or code in ABSENT:
        return None
    if operation.startswith("Head"):  # has no body that tells
        page = "html" in str(http.headers.get("content-type", "")).lower()
        return ("page", f"answered with a web page ({status})") if page else None
    content = http.content
    if content.strip() and not content.lstrip().startswith((b"<?xml", b"<Error")):
        return "page", f"answered with {_form(http.headers, content)} ({status})"
    if status == 404 and not content.strip():
        return "half", "answered only in part (404)"
    return None


def _hollow(http: Any, parsed: Mapping[str, Any], operation: str) -> tuple[str, str] | None:
    streamed = operation == "GetObject"
    content = b"" if streamed else http.content
    kind = str(http.headers.get("content-type", "")).lower()
    missing = [name for name in _PROMISED.get(operation, ()) if parsed.get(name) is None]
    if streamed and "ContentLength" not in parsed and "transfer-encoding" not in http.headers:
        missing.append("ContentLength")
    if "ETag" in parsed and not _whole(str(parsed["ETag"])):
        missing.append("ETag")
    page = b"<html" in content[:1000].lower() or b"<!doctype" in content[:1000].lower()
    if page or ("html" in kind and missing):
        return "page", f"answered with {_form(http.headers, content)} ({http.status_code})"
    return ("half", f"answered only in part (no {missing[0]})") if missing else None


def _whole(etag: str) -> bool:
    """Whether an ETag is not cut: with both of its quotes, or with none."""
    bare = etag.removeprefix("W/").strip('"')
    return bool(bare) and etag.count('"') in (0, 2)


def _form(headers: Mapping[str, str], content: bytes) -> str:
    html = "html" in str(headers.get("content-type", "")).lower() or b"<" in content[:20]
    return "a web page" if html else "something other than S3's XML"


def _target(headers: Mapping[str, str]) -> str:
    """Where a redirect leads, without its path and what else it may hold."""
    found = re.match(r"https?://[\w.-]{1,80}(:\d{1,5})?(?=[/?#]|$)", headers.get("location", ""))
    return f" to {found.group()}" if found else ""


def _names_region(headers: Mapping[str, str], parsed: Mapping[str, Any]) -> bool:
    return bool(headers.get("x-amz-bucket-region") or parsed.get("Error", {}).get("Region"))
