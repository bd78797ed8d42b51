"""Google's credentials, with a stand-in for google-auth, which need not be installed."""

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType

import pytest

from launch.contract.redaction import Secrets
from launch.providers.gcp.token import RENEWED, Token

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
        "google.auth.exceptions": {"GoogleAuthError": Exception}, "google.auth.transport": {},
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
