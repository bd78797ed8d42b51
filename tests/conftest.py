"""No test sees who runs it, and none talks to the network."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mimir.connections import CA_FILES, PROXIES

LOCAL = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(scope="session")
def _font_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Listing the fonts takes a second, which a fresh home would cost each process that draws.
    return tmp_path_factory.mktemp("matplotlib")


@pytest.fixture(autouse=True)
def _isolated(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    _font_cache: Path,
) -> None:
    """A home of its own, none of the caller's settings, and sockets of this machine only.

    Providers are made anew: the one that a test before has asked for bears its settings.
    """
    registry = sys.modules.get("launch.providers.registry")
    if registry is not None:
        registry.get.cache_clear()
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and callspec.params.get("store") == "real":
        return  # the one test that is meant for a bucket out there, with the caller's credentials
    for name in list(os.environ):
        if name.startswith(("AWS_", "XDG_", "MIMIR_")) and name != "MIMIR_TEST_S3_URL":
            monkeypatch.delenv(name)
        # pytest-xdist gives its workers 80 columns, so that a test alone would see other lines.
        if "COLOR" in name or name in ("COLUMNS", "LINES"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("MPLCONFIGDIR", str(_font_cache))
    # The catalogue of prices: refused at once, in commands of their own, too.
    monkeypatch.setenv("GPUHUNT_CATALOG_URL", "http://127.0.0.1:9")
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))


@pytest.fixture
def connected_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Sets these variables, and takes away all else that leads connections another way."""

    def set_only(environ: dict[str, str]) -> None:
        for name in (*CA_FILES, *PROXIES):
            monkeypatch.delenv(name, raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)

    return set_only


def _guarded(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        internet = self.family in (socket.AF_INET, socket.AF_INET6)
        if internet and address[0] not in LOCAL:
            raise AssertionError(f"a test wants to connect to {address}")
        return connect(self, address)

    return guarded
