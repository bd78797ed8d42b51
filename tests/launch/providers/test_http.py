"""What may be sent twice and what may not; what each kind of failure is called."""

import builtins
import http.client as http_client
import json.decoder as json_decoder
import socket
import ssl
import zlib
from collections.abc import Callable

import h11
import httpcore
import httpx
import pytest

from launch.contract.errors import (
    AuthFailed,
    Misconfigured,
    ProviderError,
    RateLimited,
    UnknownOutcome,
)
from launch.providers import failures, http
from launch.providers.http import Http
from mimir.errors import BadInput, MimirError
from tests import exceptions

TOKEN = "planted-secret"


def explain(response: httpx.Response) -> MimirError:
    if response.status_code == 429:
        return RateLimited("too often", http.retry_after(response))
    if response.status_code == 401:
        return AuthFailed(f"refused: {response.text}")
    return ProviderError(f"{response.status_code}: {http.body(response).get('detail')}")


class Desk:
    """Answers in order, and notes what was asked and slept."""

    def __init__(self, *answers, base="https://api.example", **more):
        self.answers, self.asked, self.slept, self.now = list(answers), [], [], 1000.0
        self.http = Http(
            base, TOKEN, explain, service="Desk", clock=lambda: self.now, sleep=self.sleep,
            transport=httpx.MockTransport(self.answer), **more,
        )  # fmt: skip

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def answer(self, request):
        self.asked.append((self.now, request))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def json(value, status=200, **headers):
    return httpx.Response(status, json=value, headers=headers)


@pytest.mark.parametrize(
    "bad",
    [
        httpx.Response(500),
        httpx.Response(429),
        httpx.Response(200, text="{tor"),
        httpx.ConnectError("no route"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("cut"),
    ],
    ids=str,
)
def test_a_read_is_tried_again_and_a_change_never(bad):
    desk = Desk(bad, bad, json({"x": 1}))
    assert desk.http.read("GET", "/things") == {"x": 1}
    assert len(desk.asked) == 3
    assert len(desk.slept) == 2

    desk = Desk(bad, json({"x": 1}))
    with pytest.raises(ProviderError):
        desk.http.send("POST", "/things")
    assert len(desk.asked) == 1
    assert desk.slept == []


def test_a_read_ends_after_four_tries():
    desk = Desk(*[httpx.Response(503)] * 9)
    with pytest.raises(ProviderError, match="503"):
        desk.http.read("GET", "/things")
    assert len(desk.asked) == http.READ_TRIES
    assert desk.slept == sorted(desk.slept)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_what_will_not_change_is_asked_once(status):
    desk = Desk(json({"detail": "no"}, status))
    with pytest.raises(ProviderError):
        desk.http.read("GET", "/things")
    assert len(desk.asked) == 1


@pytest.mark.parametrize(
    "lost",
    [
        httpx.Response(500),
        httpx.Response(502, html="<h1>bad gateway</h1>"),
        httpx.Response(408),
        httpx.Response(201, text="{tor"),
        httpx.ReadTimeout("slow"),
        httpx.WriteError("cut"),
        httpx.RemoteProtocolError("cut"),
    ],
    ids=str,
)
def test_a_change_whose_answer_is_lost_has_an_unknown_outcome(lost):
    with pytest.raises(UnknownOutcome):
        Desk(lost).http.send("POST", "/things", json={})


@pytest.mark.parametrize(
    "never", [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow")], ids=str
)
def test_a_change_that_was_never_sent_has_a_known_outcome(never):
    with pytest.raises(ProviderError, match="nothing was asked") as caught:
        Desk(never).http.send("POST", "/things")
    assert not isinstance(caught.value, UnknownOutcome)


def test_a_change_without_content_is_none():
    assert Desk(httpx.Response(204)).http.send("DELETE", "/things/1") is None


@pytest.mark.parametrize("status", [403, 404, 200])
def test_a_web_page_is_not_the_services_word(status):
    page = httpx.Response(status, html="<html>error code: 1010</html>")
    with pytest.raises(ProviderError) as caught:
        Desk(*[page] * 4).http.read("GET", "/things")
    assert type(caught.value) is ProviderError
    assert "not JSON" in str(caught.value) or "web page" in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("method", ["read", "send"])
def test_a_redirect_is_not_followed(status, method):
    desk = Desk(httpx.Response(status, headers={"location": "https://elsewhere.example/"}))
    with pytest.raises(ProviderError, match="redirect"):
        getattr(desk.http, method)("POST", "/things")
    assert len(desk.asked) == 1


def test_a_wait_that_is_asked_for_is_waited():
    desk = Desk(httpx.Response(429, headers={"retry-after": "7"}), json([]))
    assert desk.http.read("GET", "/things") == []
    assert desk.slept == [7.0]


def test_a_long_wait_is_the_callers():
    desk = Desk(httpx.Response(429, headers={"retry-after": "3600"}))
    with pytest.raises(RateLimited) as caught:
        desk.http.read("GET", "/things")
    assert caught.value.retry_after == 3600
    assert desk.slept == []


def test_how_long_to_wait():
    def asked(**headers):
        return http.retry_after(httpx.Response(429, headers=headers), 11.0)

    then, now = "Tue, 24 Nov 2026 10:00:30 GMT", "Tue, 24 Nov 2026 10:00:00 GMT"
    assert asked() == 11
    assert asked(**{"retry-after": "4"}) == 4
    assert asked(**{"retry-after": then, "date": now}) == 30
    assert asked(**{"retry-after": "soon"}) == 11
    assert asked(ratelimit='"minute";r=0;t=21, "hour";r=2900;t=3000') == 21


def test_a_spent_quota_is_let_pass_before_the_next_request():
    spent = {"ratelimit": '"minute";r=0;t=12, "hour";r=2900;t=3000'}
    desk = Desk(json({}, **spent), json({}, ratelimit='"minute";r=59;t=60'), json({}))
    desk.http.read("GET", "/things")
    desk.http.send("POST", "/things")
    desk.http.send("POST", "/things")
    assert desk.slept == [12.0]


def test_requests_keep_their_spacing():
    desk = Desk(*[json({}) for _ in range(5)], spacing={"": 1.0, "launch": 12.0})
    for pace in ("", "launch", "", "launch", ""):
        desk.http.read("GET", "/things", pace=pace)
    assert [when - 1000 for when, _ in desk.asked] == [0, 1, 2, 13, 14]


def test_the_headers_and_the_secret():
    desk = Desk(json({}), json({"detail": f"bad key {TOKEN}"}, 401))
    desk.http.read("POST", "/things", json={"a": 1}, params={"b": 2})
    _, request = desk.asked[0]
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["user-agent"].startswith("mimir/")
    assert TOKEN not in str(request.url)
    assert request.url.params["b"] == "2"
    with pytest.raises(AuthFailed, match="refused") as caught:
        desk.http.read("GET", "/things")
    assert TOKEN not in str(caught.value)
    assert TOKEN not in repr(desk.http)


def test_without_a_token_no_header_is_sent():
    seen = []
    transport = httpx.MockTransport(lambda request: seen.append(request) or json({}))
    Http("https://a.example", "", explain, service="A", transport=transport).read("GET", "/")
    assert "authorization" not in seen[0].headers


@pytest.mark.parametrize("base", ["http://api.example", "ftp://127.0.0.1", "api.example", ""])
def test_a_key_goes_over_https_only(base):
    with pytest.raises(BadInput, match="https"):
        Desk(base=base)
    Desk(base="http://127.0.0.1:80")
    Desk(base="http://[::1]:80")


def test_lines_of_a_stream():
    desk = Desk(httpx.Response(200, text="one\n\ntwo\n"), httpx.Response(500))
    assert desk.http.lines("/log") == ["one", "", "two"]
    with pytest.raises(ProviderError):
        desk.http.lines("/log")


def test_a_stream_that_stays_open_is_left():
    class Silent(httpx.SyncByteStream):
        def __iter__(self):
            yield b"one\n"
            raise httpx.ReadTimeout("nothing more")

    desk = Desk(httpx.Response(200, stream=Silent()))
    assert desk.http.lines("/log") == ["one"]
    assert (len(desk.asked), desk.slept) == (1, [])


def test_every_exception_of_the_libraries_below_is_told() -> None:
    found = exceptions.classes(
        httpx, httpcore, h11, http_client, ssl, socket, builtins, json_decoder, zlib
    )
    assert len(found) > 100
    for kind in found:
        for number, error in enumerate(exceptions.instances(kind)):
            for method in ("send",) if number else ("read", "send", "lines"):
                desk = Desk(*[error] * 4)
                arguments = ("/x",) if method == "lines" else ("POST", "/x")
                with pytest.raises(MimirError) as caught:
                    getattr(desk.http, method)(*arguments)
                assert isinstance(caught.value, ProviderError), kind
                assert "Desk" in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"SSL_CERT_FILE": "/nosuch/ca.pem"}, "SSL_CERT_FILE names cannot be read"),
        ({"SSL_CERT_FILE": __file__}, "SSL_CERT_FILE names cannot be read"),
        ({"ALL_PROXY": "socks5://127.0.0.1:1"}, "ALL_PROXY"),
        ({"HTTPS_PROXY": "http://h:port"}, "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "localhost,fe80::/10"}, "NO_PROXY"),
        ({"HTTPS_PROXY": "nonsense://x"}, "HTTPS_PROXY"),
    ],
)
def test_settings_that_the_user_must_mend(
    connected_by: Callable[[dict[str, str]], None], environ: dict[str, str], says: str
) -> None:
    connected_by(environ)
    failures.ssl_context.cache_clear()
    try:
        for ask in ("read", "send"):
            with pytest.raises(Misconfigured, match=says) as caught:
                getattr(Http("https://a.example", TOKEN, explain, service="Desk"), ask)("GET", "/")
            assert caught.value.exit_code == 78
    finally:
        failures.ssl_context.cache_clear()


def test_a_certificate_that_is_not_trusted_is_not_tried_again() -> None:
    error = httpx.ConnectError("x")
    error.__cause__ = ssl.SSLCertVerificationError(1, "x")
    error.__cause__.verify_message = "self-signed certificate"
    desk = Desk(error, error)
    with pytest.raises(Misconfigured, match="self-signed"):
        desk.http.read("GET", "/x")
    assert len(desk.asked) == 1


@pytest.mark.parametrize("text", [b"[" * 100_000, b"9" * 5000, b"\x00"])
@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_of_a_strange_form(text, status):
    answers = [httpx.Response(status, content=text) for _ in range(8)]
    with pytest.raises(ProviderError):
        Desk(*answers).http.read("GET", "/x")
    with pytest.raises(ProviderError):
        Desk(*answers).http.send("POST", "/x")


def test_a_refusal_that_explain_cannot_read():
    def confused(response):
        return response.json()["detail"][0]["no"]

    desk = Desk(*[json({"detail": 7}, 400)] * 2)
    desk.http._explain = confused
    with pytest.raises(ProviderError, match="form that is not known"):
        desk.http.read("GET", "/x")
