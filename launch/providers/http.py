"""JSON over HTTP for the adapters: reads that may be tried again, changes that are sent once.

No service has idempotency keys. So what changes something is one request, and an answer that
was lost is an outcome of its own (UnknownOutcome), never a reason to ask again from here.
"""

import contextlib
import email.utils
import ipaddress
import json as jsonlib
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from launch.contract.errors import ProviderError, RateLimited, UnknownOutcome
from launch.contract.redaction import Secrets
from launch.providers.failures import NoAnswer, ssl_context, translate, unusable_settings
from mimir import __version__
from mimir.errors import BadInput, MimirError

READ_TRIES = 4
LONGEST_WAIT = 60.0
"""Seconds: who asks for more gets RateLimited, and the caller decides."""
AGENT = f"mimir/{__version__}"
"""Of our own: Cloudflare, in front of all three services, refuses some libraries' default."""

_FRONT = re.compile(r"error code: (1\d{3})\b", re.I)
"""What Cloudflare says in plain text instead of a page, to a client that asks for none."""
TOO_OFTEN = "1015"
_LEFT = re.compile(r";\s*r=(\d{1,9})\b[^,]*?;\s*t=(\d{1,9})\b")


class Absent(ProviderError):
    """The service itself says that there is no such thing (for an `explain` to return)."""


class Http:
    """One service's API under one key.

    Args:
        base: URL that paths are put behind; https, or http on this machine only.
        token: bearer token, "" to send none.
        explain: makes an error of an answer that is neither 2xx nor 3xx nor a web page.
        service: the service's name in messages.
        spacing: pace -> least seconds between two requests of that pace; "" is for all.
        transport: httpx's own if None (closed after every request).
        secrets: what is removed from all that the service says; the token is added to it.
        headers: sent with every request beside the usual ones.
    """

    def __init__(
        self,
        base: str,
        token: str,
        explain: Callable[[httpx.Response], MimirError],
        *,
        service: str,
        spacing: Mapping[str, float] | None = None,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        secrets: Secrets | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._headers = headers or {}
        self._secrets = Secrets() if secrets is None else secrets
        self._secrets.learn_key(token)
        self._base = base.rstrip("/")
        self._local = _checked(self._base, service)
        self._token = token
        self._explain = explain
        self._service = service
        self._spacing = {"": 0.0, **(spacing or {})}
        self._transport = transport
        self._clock = clock
        self._sleep = sleep
        self._turn = threading.Lock()
        self._next: dict[str, float] = {}
        self._quota = float("-inf")
        # Reading the certificates takes 30 ms, so once; a server here without TLS needs none.
        self._tls: ssl.SSLContext | bool = self._base.startswith("https:") and ssl_context()

    def __repr__(self) -> str:
        return f"Http({self._service}, {self._base})"

    def read(
        self, method: str, path: str, *, json: Any = None, params: Mapping[str, Any] | None = None,
        pace: str = "", timeout: float = 30.0,
    ) -> Any:  # fmt: skip
        """The JSON of a request that changes nothing, tried again after 429, 5xx and the like.

        Raises:
            RateLimited: still, after READ_TRIES tries, or the service asks for more than a minute.
            ProviderError: not reached, an unreadable answer, or as `explain` has it.
        """
        pause = 0.5
        for left in reversed(range(READ_TRIES)):
            wait = pause * random.uniform(0.75, 1.5)
            try:
                response = self._request(method, path, json, params, pace, timeout)
            except NoAnswer as error:
                failure: MimirError = ProviderError(
                    f"{self._service} could not be reached ({error.words}): look at the "
                    "network, then try again"
                )
            else:
                if response.is_success:
                    try:
                        return response.json()
                    except (ValueError, RecursionError):
                        failure = ProviderError(
                            f"{self._service} answered {method} {path} with something that is not "
                            "JSON: try again later"
                        )
                else:
                    failure = self._failure(response)
                    if isinstance(failure, RateLimited):
                        wait = max(wait, failure.retry_after)
                    elif response.status_code < 500:
                        raise failure
            if not left or wait > LONGEST_WAIT:
                raise failure
            self._sleep(wait)
            pause *= 2
        raise AssertionError("unreachable")

    def send(
        self, method: str, path: str, *, json: Any = None, params: Mapping[str, Any] | None = None,
        pace: str = "", timeout: float = 30.0,
    ) -> Any:  # fmt: skip
        """The JSON (None if empty) of a request that changes something: exactly one is sent.

        Raises:
            UnknownOutcome: it was sent, and no readable answer came, or a 5xx.
            ProviderError: it was never sent, or refused as `explain` has it.
        """
        what = f"{method} {path}"
        try:
            response = self._request(method, path, json, params, pace, timeout)
        except NoAnswer as error:
            if not error.sent:
                raise ProviderError(
                    f"{self._service} could not be reached ({error.words}), nothing was asked "
                    "for: look at the network, then try again"
                ) from error
            raise UnknownOutcome(
                f"{self._service} was sent {what}, but its answer was lost ({error.words})"
            ) from error
        if response.status_code >= 500 or response.status_code == 408:
            raise UnknownOutcome(
                f"{self._service} answered {what} with {response.status_code}, which may or may "
                "not have been done"
            )
        if not response.is_success:
            raise self._failure(response)
        if not response.content.strip():
            return None
        try:
            return response.json()
        except (ValueError, RecursionError) as error:
            raise UnknownOutcome(
                f"{self._service} accepted {what}, but its answer cannot be read"
            ) from error

    def lines(
        self, path: str, *, params: Mapping[str, Any] | None = None, pace: str = "",
        timeout: float = 10.0, silence: float = 2.0,
    ) -> list[str]:  # fmt: skip
        """The lines of a text or event stream by GET, one try.

        A stream that stays open ends after `silence` seconds without a byte, or `timeout`
        seconds in all.
        """
        url = self._base + path
        self._wait(pace)
        end = self._clock() + timeout
        found: list[str] = []
        try:
            with (
                self._client(timeout, silence) as client,
                client.stream("GET", url, params=params) as response,
            ):
                if not response.is_success:
                    response.read()
                    raise self._failure(response)
                with contextlib.suppress(httpx.ReadTimeout):
                    for line in response.iter_lines():
                        found.append(line)
                        if self._clock() >= end:
                            break
        except MimirError:
            raise
        except Exception as error:
            failure = translate(error, self._service, self._secrets)
            if isinstance(failure, NoAnswer):
                failure = ProviderError(
                    f"{self._service} did not give {path} ({failure.words}): try again later"
                )
            raise failure from error
        return found

    def _request(
        self, method: str, path: str, json: Any, params: Mapping[str, Any] | None, pace: str,
        timeout: float,
    ) -> httpx.Response:  # fmt: skip
        self._wait(pace)
        # One connection per request: a kept one that the server has closed meanwhile would make
        # a request that was never taken look like one whose answer was lost.
        try:
            with self._client(timeout, timeout) as client:
                response = client.request(method, self._base + path, json=json, params=params)
        except MimirError:
            raise
        except Exception as error:
            raise translate(error, self._service, self._secrets) from error
        waits = [min(float(t), LONGEST_WAIT) for r, t in _quota(response) if r == 0]
        if waits:
            self._quota = self._clock() + max(waits)
        return response

    def _client(self, timeout: float, silence: float) -> httpx.Client:
        headers = {"User-Agent": AGENT, "Accept": "application/json, text/event-stream"}
        headers |= self._headers
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            return httpx.Client(
                transport=self._transport,
                verify=self._tls,
                headers=headers,
                timeout=httpx.Timeout(timeout, read=silence),
                follow_redirects=False,
                trust_env=not self._local,
            )
        except (ImportError, ValueError, TypeError, httpx.InvalidURL) as error:
            raise unusable_settings(error, self._service) from error

    def _wait(self, pace: str) -> None:
        """Let the request's pace, everyone's pace, and a spent quota pass; one at a time."""
        with self._turn:
            due = max(self._quota, *(self._next.get(each, float("-inf")) for each in ("", pace)))
            wait = due - self._clock()
            if wait > 0:
                self._sleep(wait)
            now = self._clock()
            for each in {"", pace}:
                self._next[each] = now + self._spacing[each]

    def _failure(self, response: httpx.Response) -> MimirError:
        status = response.status_code
        if response.is_redirect or 300 <= status < 400:
            return ProviderError(
                f"{self._service} answered with a redirect ({status}), which is not followed with "
                "a key: its address may have changed; look for a newer Mimir"
            )
        if status not in (413, 429) and status < 500 and is_page(response):
            return ProviderError(
                f"{self._service} answered {status} with a web page, which is not its API's word: "
                "something in front of it refused the request (a firewall, a proxy); try again "
                "later, or from another network"
            )
        if status == 413:
            return BadInput(
                f"{self._service} answered 413: the request is larger than it takes; give the run "
                "fewer or shorter variables"
            )
        front = _FRONT.match(response.text.strip()) if status != 429 and status < 500 else None
        if front:
            told = f"{self._service} answered {status} by Cloudflare, in front of it ({front[0]})"
            if front[1] == TOO_OFTEN:
                return RateLimited(f"{told}: asked too often", retry_after(response, LONGEST_WAIT))
            return ProviderError(f"{told}: try again later, or from another network")
        try:
            return self._explain(self._cleaned(response))
        except Exception as error:  # noqa: BLE001 - an answer that nobody foresaw
            return ProviderError(
                f"{self._service} answered {status} in a form that is not known "
                f"({type(error).__name__}): try again later, or look for a newer Mimir"
            )

    def _cleaned(self, response: httpx.Response) -> httpx.Response:
        """A refusal without secrets. Before it is explained, because an explanation may be cut,
        and the rest of a secret would not be found."""
        try:
            text = jsonlib.dumps(self._secrets.clean_json(response.json()), ensure_ascii=False)
        except (ValueError, RecursionError):
            text = self._secrets.clean(response.text)
        length = ("content-length", "content-encoding", "transfer-encoding", "content-type")
        headers = [(name, value) for name, value in response.headers.items() if name not in length]
        kind = response.headers.get("content-type", "").partition(";")[0] or "text/plain"
        headers.append(("content-type", f"{kind}; charset=utf-8"))
        return httpx.Response(response.status_code, headers=headers, content=text.encode())


def is_page(response: httpx.Response) -> bool:
    """Whether it is HTML, which none of the services' APIs speaks."""
    kind = response.headers.get("content-type", "")
    return "html" in kind.lower() or response.content.lstrip()[:1] == b"<"


def body(response: httpx.Response) -> dict[str, Any]:
    """The JSON object in an answer; {} if there is none."""
    try:
        value = jsonlib.loads(response.content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def retry_after(response: httpx.Response, default: float = 10.0) -> float:
    """Seconds that an answer asks to wait: Retry-After (RFC 9110), or a spent RateLimit's t."""
    said = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", said):
        return float(said)
    if said:
        try:
            until = email.utils.parsedate_to_datetime(said)
            now = email.utils.parsedate_to_datetime(response.headers["date"])
            return max(0.0, (until - now).total_seconds())
        except (KeyError, ValueError, TypeError, OverflowError):
            return default
    return max((float(t) for r, t in _quota(response) if r == 0), default=default)


def _quota(response: httpx.Response) -> list[tuple[int, int]]:
    """(left, seconds to reset) of each window of a RateLimit header (IETF draft, 8 or later)."""
    found = _LEFT.findall(response.headers.get("ratelimit", ""))
    return [(int(left), int(reset)) for left, reset in found]


def _checked(base: str, service: str) -> bool:
    """Whether the base is on this machine; BadInput if a key must not go there."""
    try:
        url = httpx.URL(base)
    except httpx.InvalidURL as error:
        raise BadInput(f"the address of {service}, {base!r}, is no URL: {error}") from error
    local = url.host == "localhost"
    with contextlib.suppress(ValueError):
        local = local or ipaddress.ip_address(url.host).is_loopback
    if not url.host or url.scheme not in ("https", "http") or (url.scheme == "http" and not local):
        raise BadInput(f"the address of {service} is {base!r}, but a key goes to https:// only")
    return local
