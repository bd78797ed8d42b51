"""What the adapters of all services share: where their settings are, and one Http under their key.

A new service is a class that names its address, its key's variable and what its refusals mean
(`explain`), and has the methods of contract/cloud.py that talk to it.
"""

import os
import time
from collections.abc import Callable, Mapping
from typing import ClassVar

import httpx

from launch.contract.errors import AuthFailed
from launch.contract.redaction import Secrets
from launch.providers.http import Http
from mimir.connections import BAD_CHARACTERS, sendable
from mimir.errors import MimirError


class Adapter:
    """The base of a Cloud.

    title: the service's name in messages. url: its address; the variable `url_variable` names
    another one (tests). key_variable: the variable with the key. key_advice: how to get a key.
    spacing: as Http's.

    Args:
        environ: holds the key and the address.
        transport: httpx's own if None.
    """

    title: ClassVar[str]
    url: ClassVar[str]
    url_variable: ClassVar[str]
    key_variable: ClassVar[str]
    key_advice: ClassVar[str]
    spacing: ClassVar[Mapping[str, float]] = {}

    def __init__(
        self,
        *,
        environ: Mapping[str, str] = os.environ,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.secrets = Secrets()
        self._environ = environ
        self._base = (environ.get(self.url_variable) or self.url).rstrip("/")
        self._transport = transport
        self._clock = clock
        self._sleep = sleep
        self._made: Http | None = None

    @staticmethod
    def explain(response: httpx.Response) -> MimirError:
        """The error that an answer other than success stands for; secrets are removed from it."""
        raise NotImplementedError

    def configured(self) -> bool:
        """Whether there is a key for it here; no request is sent."""
        return bool(self.key())

    def key(self) -> str:
        """The key as it is set here, "" for none."""
        return self._environ.get(self.key_variable, "").strip()

    def forget(self, name: str) -> None:
        """As Cloud.forget: nothing, where a service keeps nothing beside the machine."""

    @property
    def _http(self) -> Http:
        if self._made is None:
            key = self.key()
            if not key:
                raise AuthFailed(f"there is no key for {self.title}: {self.key_advice}")
            if not sendable(key):
                raise AuthFailed(f"${self.key_variable} holds {BAD_CHARACTERS}: copy it again")
            self._made = Http(
                self._base, key, self.explain, service=self.title, spacing=self.spacing,
                transport=self._transport, clock=self._clock, sleep=self._sleep,
                secrets=self.secrets,
            )  # fmt: skip
        return self._made
