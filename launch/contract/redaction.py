"""Remove secrets from texts that a service or a machine wrote, before a person reads them.

A service that refuses an order may quote it, and a log may show what a process was given. Known
secrets are removed in every form in which a service may repeat them: as they are, URL-encoded,
escaped in JSON or HTML, in base64, whole or in pieces of PIECE characters. What looks like a
token is removed whether it is known or not.

Names of machines and states are never changed: decisions are made on what the service sent.
"""

import base64
import contextlib
import html
import json
import re
import threading
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, quote, quote_plus

GAP = "…"
"""What stands in place of a secret."""
SHORTEST_SECRET = 8
"""Characters: a shorter value (`1`, `yes`) is a word of ordinary texts, so it stays in them."""
PIECE = 12
"""Characters of a secret in a row that are removed: services cut and wrap what they quote."""
REMEMBERED = 100
"""Values: of a launcher that orders for days, the oldest are forgotten. An order has about ten."""
_SIGNS = ("Signature", "Credential", "Token")
"""How the names of a signed link's secret parts end, with X-Amz- before them or not."""
_PLAIN = ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
_LINKS = ("MIMIR_KEYS_URL", "MIMIR_CODE_URL")

_TOKENS = (
    re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
    ),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    re.compile(r"\bya29\.[\w.~+/-]+"),
    # GitHub's, Hugging Face's, OpenAI's, Slack's, Google's, RunPod's, and JSON Web Tokens.
    re.compile(r"\b(?:gh[pousr]_|github_pat_|hf_|sk-|rpa_)[A-Za-z0-9_-]{16,}"),
    re.compile(r"\b(?:xox[abeoprs]-[\w-]{10,}|AIza[\w-]{30,})"),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"),
    # A name and password in a URL, and webhooks, whose path is their password.
    re.compile(r"(?<=://)[^/\s:@'\"]{1,100}:[^/\s@'\"]{1,200}(?=@)"),
    re.compile(r"(?<=hooks\.slack\.com/)[\w/-]{8,}|(?<=/api/webhooks/)[\w/-]{8,}"),
    re.compile(r"(?<=Bearer )[^\s'\",}]{8,}"),
    re.compile(r"(?<=token=)[^&\s'\"),;]+", re.I),
    re.compile(r"(?<=code=)4(?:/|%2F)[^&\s'\"]+"),
    re.compile(r"(?P<name>Proxy-Token['\"]?\s*[:=]\s*['\"]?)[^\s'\",}]+", re.I),
    re.compile(r"(?P<name>token['\"]: ['\"])[^'\"]+", re.I),
    re.compile(r"(?P<name>X-Amz-(?:Signature|Security-Token|Credential)=)[^&\s'\"]+", re.I),
    re.compile(
        # Bounded, because a machine that writes its log to be slow must not hold up a launcher.
        r"(?P<name>\b[A-Z0-9_]{0,40}(?:SECRET|TOKEN|PASSWORD|API_KEY|ACCESS_KEY)[A-Z0-9_]{0,40}"
        r"['\"]?\s{0,4}[:=]\s{0,4}['\"]?)[^\s'\",;&}]{6,}"
    ),
)  # fmt: skip


class Secrets:
    """What must not be shown: the key of a service, and what its machines were given.

    One for each provider. Whoever talks to the service adds what it sends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: tuple[str, ...] = ()
        self._values: tuple[str, ...] = ()
        self._pieces: dict[str, dict[int, set[str]]] = {}
        self._index: dict[int, set[str]] | None = None

    def __repr__(self) -> str:
        return f"Secrets({len(self._keys) + len(self._values)})"

    def learn_key(self, key: str) -> None:
        """Add the key of a service, which is never forgotten."""
        with self._lock:
            self._keys = tuple(dict.fromkeys((*self._keys, *_parts(key))))
            self._index = None

    def learn(self, *values: str) -> None:
        """Add secrets. Of a signed link the path stays visible, and what signs it is secret."""
        found = [part for value in values for part in _parts(value)]
        with self._lock:
            known = set(self._values)
            older = [value for value in self._values if value not in found]
            self._values = tuple(dict.fromkeys((*older, *found)))[-REMEMBERED:]
            if set(self._values) != known:
                self._index = None

    def learn_environment(self, env: Mapping[str, str]) -> None:
        """Add the values of variables, but for Mimir's own settings and the names of places."""
        self.learn(
            *(
                value
                for name, value in env.items()
                if name in _LINKS or not (name.startswith("MIMIR_") or name in _PLAIN)
            )
        )

    def clean(self, text: str) -> str:
        """The text without secrets."""
        text = self._without_known(text)
        for pattern in _TOKENS:
            text = pattern.sub(rf"\g<name>{GAP}" if "name" in pattern.groupindex else GAP, text)
        return text

    def clean_json(self, value: object) -> object:
        """The same of every text in a JSON value."""
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, list):
            return [self.clean_json(each) for each in value]
        if isinstance(value, dict):
            return {self.clean(str(key)): self.clean_json(each) for key, each in value.items()}
        return value

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Clean the text of an error that leaves the block, and of what caused it."""
        try:
            yield
        except BaseException as error:
            self.scrub(error)
            raise

    def scrub(self, error: BaseException) -> None:
        """Clean the text of an error, and of all the errors behind it."""
        waiting: list[BaseException | None] = [error]
        seen: set[int] = set()
        while waiting:
            each = waiting.pop()
            if each is None or id(each) in seen:
                continue
            seen.add(id(each))
            each.args = tuple(self.clean(arg) if isinstance(arg, str) else arg for arg in each.args)
            waiting += [each.__cause__, each.__context__]

    def _without_known(self, text: str) -> str:
        index = self._indexed()
        marked = bytearray(len(text))
        for size, pieces in index.items():
            for start in range(len(text) - size + 1):
                if text[start : start + size] in pieces:
                    marked[start : start + size] = b"\1" * size
        if 1 not in marked:
            return text
        spans = re.finditer(rb"(\x00+)|\x01+", bytes(marked))
        return "".join(text[span.start() : span.end()] if span[1] else GAP for span in spans)

    def _indexed(self) -> dict[int, set[str]]:
        """All pieces of all forms of what is known, by length."""
        with self._lock:
            if self._index is None:
                values = (*self._keys, *self._values)
                self._pieces = {each: self._pieces.get(each) or _pieces(each) for each in values}
                self._index = {}
                for pieces in self._pieces.values():
                    for size, texts in pieces.items():
                        self._index.setdefault(size, set()).update(texts)
            return self._index


def clean(text: str) -> str:
    """A text without what looks like a token, where no secret is known."""
    return Secrets().clean(text)


def _parts(value: str) -> Iterator[str]:
    """What of a value is secret: its lines; of a signed link, what signs it."""
    head, _, query = value.partition("?")
    if "://" in head and query:
        for name, text in parse_qsl(query):
            if name.endswith(_SIGNS):
                yield text.partition("/")[0] if name.endswith("Credential") else text
        return
    yield from (" ".join(line.split()) for line in value.splitlines())


def _pieces(secret: str) -> dict[int, set[str]]:
    """What of a text belongs to this secret, by length."""
    found: dict[int, set[str]] = {}
    for form in set(_forms(secret)) if len(secret) >= SHORTEST_SECRET else ():
        size = min(PIECE, len(form))
        if size >= SHORTEST_SECRET:
            pieces = found.setdefault(size, set())
            pieces.update(form[at : at + size] for at in range(len(form) - size + 1))
    return found


def _forms(secret: str) -> Iterator[str]:
    escaped = json.dumps(secret)[1:-1]
    yield from (secret, escaped, json.dumps(escaped)[1:-1], repr(secret)[1:-1])
    yield html.escape(secret)
    encoded = list(_base64(secret.encode()))
    yield from encoded
    for text in (secret, *encoded):
        for form in (quote(text, safe=""), quote(text), quote_plus(text)):
            yield form
            yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), form)


def _base64(secret: bytes) -> Iterator[str]:
    """As it stands in the base64 of a text that holds it: at each of three places in a group."""
    for before in range(3):
        first, last = -(-8 * before // 6), 8 * (before + len(secret)) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + secret).decode()[first:last]
