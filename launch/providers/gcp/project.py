"""One project's requests: paths, pages, and lists over all zones that are whole or an error."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx

from launch.contract.errors import AuthFailed, ProviderError
from launch.contract.redaction import Secrets
from launch.providers.gcp import answers, prices
from launch.providers.gcp.answers import Row, last
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
"""The one warning in a list that is none: there is nothing, in this zone or in all."""
T = TypeVar("T")


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

    def one(self, path: str) -> Row:
        """What is at this path of Compute Engine, as it is written: of this project or another."""
        return answers.table(self.compute.read("GET", path), last(path))

    def rows(self, rest: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        """All rows of a list; an error where Google warns that it is not whole."""
        path = self.path(rest)

        def whole(more: Mapping[str, Any]) -> tuple[list[Row], str]:
            page = answers.table(self.compute.read("GET", path, params=more), f"list of {rest}")
            # Google leaves out what is empty; what has a kind is a list, too.
            if "kind" not in page or page.get("items", []) is None:
                raise ProviderError(f"Google's answer is no list of {rest}: try again later")
            _must_be_whole(page, {"": page}, rest)
            return answers.rows(page, "items", f"list of {rest}"), _token(page)

        return _pages(whole, rest, {"maxResults": PAGE, **(params or {})})

    def scoped(self, kind: str, params: Mapping[str, Any] | None = None) -> list[tuple[str, Row]]:
        """(zone, row) of every zone; an error where a zone is out of reach."""
        path = self.path(f"aggregated/{kind}")

        def whole(more: Mapping[str, Any]) -> tuple[list[tuple[str, Row]], str]:
            page = answers.table(self.compute.read("GET", path, params=more), f"list of {kind}")
            if page.get("items") is None:
                raise ProviderError(f"Google's answer holds no {kind}: try again later")
            items = answers.inner(page, "items", f"list of {kind}")
            scopes = {scope: answers.table(each, scope) for scope, each in items.items()}
            _must_be_whole(page, scopes, kind)
            found = [
                (last(scope), row)
                for scope, each in scopes.items()
                for row in answers.rows(each, kind, scope)
            ]
            return found, _token(page)

        return _pages(whole, kind, {"maxResults": PAGE, **(params or {})})

    def skus(self) -> list[Any]:
        """Compute Engine's price list, whose rows may be anything."""
        # This API is of no project, so a person who has signed in must name one that pays for the
        # requests (the right serviceusage.services.use). By Google's documents; not tried there.
        self.path("")
        payer = {"X-Goog-User-Project": self.id}
        http = self._to(BILLING if self._base == GOOGLE else self._base, payer)
        path = f"/v1/services/{prices.SERVICE}/skus"

        def whole(more: Mapping[str, Any]) -> tuple[list[Any], str]:
            page = answers.table(http.read("GET", path, params=more), "list of prices")
            if not isinstance(page.get("skus"), list):
                raise ProviderError("Google's answer holds no prices: try again later")
            return page["skus"], _token(page)

        return _pages(whole, "prices", {"pageSize": 5000})

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


def _must_be_whole(page: Row, scopes: Mapping[str, Row], kind: str) -> None:
    """ProviderError if Google says that something lacks in a page, or in one of its scopes."""
    missing = answers.words(page, "unreachables", f"list of {kind}")
    for scope, each in {"": page, **scopes}.items():
        where = scope or f"list of {kind}"
        warning = answers.inner(each, "warning", where)
        code = answers.text(warning, "code", f"warning of {where}") or "a warning"
        if warning and code != EMPTY:
            missing.append(scope or code)
    if missing:
        raise ProviderError(
            f"Google could not reach {', '.join(missing[:3])}: its list of {kind} is not whole; "
            "ask again"
        )


def _token(page: Row) -> str:
    return answers.text(page, "nextPageToken", "a list")


def _pages(
    ask: Callable[[Mapping[str, Any]], tuple[list[T], str]], what: str, params: Mapping[str, Any]
) -> list[T]:
    """The rows of all pages. ask: the rows of one, and the token of the next, "" for none."""
    rows: list[T] = []
    token = ""
    for _ in range(PAGES):
        found, token = ask({**params, **({"pageToken": token} if token else {})})
        rows += found
        if not token:
            return rows
    raise ProviderError(f"Google's list of {what} has no end: ask again")
