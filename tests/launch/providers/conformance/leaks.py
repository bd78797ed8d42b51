"""Whether a text shows a secret, whole or in pieces, also after decoding it."""

import base64
import json
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote, unquote_plus

PIECE = 12
SECRETS: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": "PLANTEDKEYIDOFSOMEBODY",
    "AWS_SECRET_ACCESS_KEY": "wJalrPLANTED/K7MDENG+bPxRfiCYEXAMPLEKEY=x",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEPLANTED//////////wEaDHh+5r2o=" * 3,
    "WANDB_API_KEY": 'planted "quoted" key of\tsomebody else',
}
"""Variables of an order."""
SIGNED = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
LINK = (
    "https://bucket.example/runs/handover/run/a0001-x.json?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    f"&X-Amz-Credential={SECRETS['AWS_ACCESS_KEY_ID']}%2F20261128%2Feu-1%2Fs3%2Faws4_request"
    f"&X-Amz-Expires=7200&X-Amz-Signature={SIGNED}"
)
KEY = "account-key-planted-0123456789"

FORMS: Mapping[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "url-encoded": lambda text: quote(text, safe=""),
    "form-encoded": quote_plus,
    "JSON": lambda text: json.dumps({"env": text}),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"env": text})),
    "repr": lambda text: repr({"env": text}),
    "base64": lambda text: base64.b64encode(f"#!env\n{text}\n".encode()).decode(),
    "base64, shifted": lambda text: base64.urlsafe_b64encode(f"#!/env\n{text}".encode()).decode(),
    "its beginning": lambda text: text[: max(PIECE, len(text) * 2 // 3)],
    "its end": lambda text: text[-max(PIECE, len(text) * 2 // 3) :],
}
"""As services may repeat what they were sent."""


def shown(text: str, secrets: Mapping[str, str]) -> list[str]:
    """The names of the secrets of which PIECE characters stand in the text."""
    readings = list(_readings(text))
    return [
        name
        for name, secret in secrets.items()
        if any(piece in each for piece in _pieces(secret) for each in readings)
    ]


def of_error(error: BaseException) -> str:
    """All that a report of an error may print: it, what is behind it, and the traceback's end."""
    found: list[str] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and each not in waiting:
            found += [str(each), repr(each), *traceback.format_exception_only(each)]
            waiting += [each.__cause__, each.__context__]
    return "\n".join(found)


def _pieces(secret: str) -> Iterator[str]:
    for start in range(max(1, len(secret) - PIECE + 1)):
        yield secret[start : start + PIECE]


def _readings(text: str) -> Iterator[str]:
    """The text, and what it says when it is decoded."""
    plain = {text, text.replace('\\"', '"').replace("\\\\", "\\").replace("\\t", "\t")}
    plain |= {each.replace('\\"', '"').replace("\\t", "\t") for each in plain}
    for each in plain:
        yield from (each, unquote(each), unquote_plus(each))
        for run in re.findall(r"[A-Za-z0-9+/_-]{12,}", unquote(each)):
            for start in range(4):
                coded = run[start:].replace("-", "+").replace("_", "/")
                coded = coded[: len(coded) // 4 * 4]
                yield base64.b64decode(coded).decode(errors="replace")
