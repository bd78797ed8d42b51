"""Google's credentials, with a stand-in for google-auth, which need not be installed."""

import ssl
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType

import pytest

from launch.contract.errors import AuthFailed, Misconfigured, ProviderError
from launch.contract.redaction import Secrets
from launch.providers.gcp.token import RENEWED, Token
from mimir.errors import MimirError

START = 1.8e9


class Credentials:
    """Tokens of an hour. As in google-auth, `expiry` is in UTC and has no time zone."""

    def __init__(self) -> None:
        self.now = START
        self.expiry: datetime | None = None
        self.refreshed: list[object] = []

    @property
    def valid(self) -> bool:
        now = datetime.fromtimestamp(self.now, UTC).replace(tzinfo=None)
        return self.expiry is not None and now < self.expiry

    @property
    def token(self) -> str:
        return f"t{len(self.refreshed)}"

    def refresh(self, request: object) -> None:
        self.refreshed.append(request)
        now = datetime.fromtimestamp(self.now, UTC).replace(tzinfo=None)
        self.expiry = now + timedelta(hours=1)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> Credentials:
    made = Credentials()
    words: dict[str, dict[str, object]] = {
        "google": {}, "google.auth": {"default": lambda scopes: (made, None)},
        "google.auth.exceptions": {"GoogleAuthError": Exception, "TransportError": OSError},
        "google.auth.transport": {},
        "google.auth.transport.requests": {"Request": object},
    }  # fmt: skip
    for name, values in words.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, last = name.rpartition(".")
        if parent:
            monkeypatch.setattr(sys.modules[parent], last, module, raising=False)
    return made


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_a_token_is_renewed_shortly_before_its_end(credentials: Credentials) -> None:
    token = Token({}, Secrets(), lambda: credentials.now)
    assert token.get() == "t1"
    credentials.now = START + 3600 - RENEWED - 1
    assert token.get() == "t1"
    credentials.now += 2
    assert token.get() == "t2"
    assert len(set(credentials.refreshed)) == 1, "one HTTP client for all"


@pytest.mark.parametrize(
    ("failure", "kind", "said"),
    [
        (OSError("no route to oauth2.googleapis.com"), ProviderError, "look at the network"),
        (ssl.SSLCertVerificationError("no"), Misconfigured, "certificate of Google is not trusted"),
        (ValueError("invalid_grant"), AuthFailed, "sign in by"),
    ],
)
def test_no_network_is_no_bad_key(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch, failure: Exception,
    kind: type[MimirError], said: str,
) -> None:  # fmt: skip
    def refresh(request: object) -> None:
        raise failure

    monkeypatch.setattr(credentials, "refresh", refresh)
    with pytest.raises(MimirError, match=said) as caught:
        Token({}, Secrets()).get()
    assert type(caught.value) is kind
