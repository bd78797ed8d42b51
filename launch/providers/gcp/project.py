"""One project's requests: paths, pages, and lists over all zones that are whole or an error."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from launch.contract.errors import AuthFailed, ProviderError
from launch.contract.redaction import Secrets
from launch.providers.gcp import prices
from launch.providers.gcp.token import ADVICE, Token
from launch.providers.http import Http
from mimir.errors import BadInput, MimirError

GOOGLE = "https://compute.googleapis.com"
BILLING = "https://cloudbilling.googleapis.com"
"""Where the price list is; another address of Google (tests) has both."""
PAGE = 500
PAGES = 400
"""After which a list that has no end is an error."""
EMPTY = "NO_RESULTS_ON_PAGE"
"""The one warning in an aggregated list that is none: this zone has nothing."""


class Project:
    """A project under a token that is renewed.

    Args:
        id: the project's, "" if none is set.
        base: Google's address.
    """

    def __init__(
        self, id: str, base: str, explain: Callable[[httpx.Response], MimirError], token: Token,
        secrets: Secrets, *, transport: httpx.BaseTransport | None,
        clock: Callable[[], float], sleep: Callable[[float], None],
    ) -> None:  # fmt: skip
        self.id = id
        self._base, self._explain, self._token, self._secrets = base, explain, token, secrets
        self._transport, self._clock, self._sleep = transport, clock, sleep
        self._made: dict[str, tuple[str, Http]] = {}

    @property
    def compute(self) -> Http:
        """Compute Engine."""
        return self._to(self._base)

    def path(self, rest: str) -> str:
        """Of something of the project's, "" for the project itself."""
        if not self.id:
            raise AuthFailed(
                "there is no project for Google Cloud: set MIMIR_GCP_PROJECT to its id, and "
                f"{ADVICE}"
            )
        return f"/compute/v1/projects/{checked(self.id)}/{rest}".rstrip("/")

    def rows(self, rest: str, params: Mapping[str, Any] | None = None) -> list[Mapping[str, Any]]:
        """All rows of a list."""
        path = self.path(rest)

        def whole(more: Mapping[str, Any]) -> dict[str, Any]:
            answer = self.compute.read("GET", path, params=more)
            # Google leaves out what is empty; what has a kind is a list, too.
            if isinstance(answer, dict) and "kind" in answer:
                return {"items": [], **answer}
            raise ProviderError(f"Google's answer is no list of {rest}: try again later")

        return _pages(whole, "items", {"maxResults": PAGE, **(params or {})})

    def scoped(self, kind: str, params: Mapping[str, Any] | None = None) -> list[Mapping[str, Any]]:
        """All rows of every zone; an error where a zone is out of reach."""
        path = self.path(f"aggregated/{kind}")

        def whole(more: Mapping[str, Any]) -> dict[str, Any]:
            answer = self.compute.read("GET", path, params=more)
            scopes = answer.get("items") if isinstance(answer, dict) else None
            if not isinstance(scopes, dict):
                raise ProviderError(f"Google's answer holds no {kind}: try again later")
            missing = list(answer.get("unreachables") or ())
            for scope, each in scopes.items():
                code = (each.get("warning") or {}).get("code", EMPTY)
                missing += [scope] if code != EMPTY else []
            if missing:
                raise ProviderError(
                    f"Google could not reach {', '.join(map(str, missing[:3]))}: its list of "
                    f"{kind} is not whole; ask again"
                )
            return {**answer, "rows": [r for each in scopes.values() for r in each.get(kind) or ()]}

        return _pages(whole, "rows", {"maxResults": PAGE, **(params or {})})

    def skus(self) -> list[Mapping[str, Any]]:
        """Compute Engine's price list."""
        # This API is of no project, so a person who has signed in must name one that pays for the
        # requests (the right serviceusage.services.use). By Google's documents; not tried there.
        self.path("")
        payer = {"X-Goog-User-Project": self.id}
        http = self._to(BILLING if self._base == GOOGLE else self._base, payer)
        path = f"/v1/services/{prices.SERVICE}/skus"
        return _pages(lambda more: http.read("GET", path, params=more), "skus", {"pageSize": 5000})

    def _to(self, base: str, headers: Mapping[str, str] | None = None) -> Http:
        """HTTP under a token that has not ended."""
        token = self._token.get()
        key = f"{base} {headers}"
        known = self._made.get(key)
        if known is None or known[0] != token:
            made = Http(
                base, token, self._explain, service="Google", transport=self._transport,
                clock=self._clock, sleep=self._sleep, secrets=self._secrets, headers=headers,
            )  # fmt: skip
            known = self._made[key] = token, made
        return known[1]


def checked(word: str) -> str:
    """It, if it can be the id of a project or a zone."""
    if not re.fullmatch(r"[a-z][a-z0-9:.-]{0,62}", word):
        raise BadInput(f"{word!r} is not the id of a project or zone of Google Cloud")
    return word


def _pages(
    ask: Callable[[Mapping[str, Any]], Any], key: str, params: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    token = ""
    for _ in range(PAGES):
        answer = ask({**params, **({"pageToken": token} if token else {})})
        found = answer.get(key) if isinstance(answer, dict) else None
        if not isinstance(found, list):
            raise ProviderError(f"Google's answer holds no {key}: try again later")
        rows += [row for row in found if isinstance(row, dict)]
        token = str(answer.get("nextPageToken") or "")
        if not token:
            return rows
    raise ProviderError(f"Google's list of {key} has no end: ask again")
