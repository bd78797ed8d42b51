"""One JSON message to a webhook, in words that Slack, Discord and ntfy take.

Who knows a webhook's URL can write to its channel, so the URL is a secret: nothing here shows more
of it than its host. Texts may come from a machine, so nothing in them mentions anybody.

Slack:   https://api.slack.com/messaging/webhooks          `text`
Discord: https://discord.com/developers/docs/resources/webhook    `content`, `allowed_mentions`
ntfy:    https://docs.ntfy.sh/publish/#message-templating  any field, by a template in the URL
"""

import http.client
import json
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from mimir.errors import BAD_CONFIG, DONE, NON_FINITE, BadInput
from mimir.text import one_line

VARIABLE = "MIMIR_NOTIFY"
"""Holds the URL where none is given as an option."""
FROM_MACHINE = "MIMIR_NOTIFY_FROM_MACHINE"
"""Holds the URL on a machine, where the user wants the machine itself to send."""
WITHIN = 5.0
"""Seconds in which a message must be taken, in all."""
MOST_TEXT = 600
"""Characters of a message's text: Discord takes 2,000."""


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """None: the message goes to the named host alone."""


def checked(url: str) -> str:
    """The URL, "" for none. BadInput, which does not show it, for what is no URL of a webhook."""
    try:
        parts = urllib.parse.urlsplit(url)
        fit = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fit = False
    if url and (not fit or not url.isascii() or any(c.isspace() for c in url)):
        raise BadInput("--notify must be the URL of a webhook, https://HOST/… (it is not shown)")
    return url


def host(url: str) -> str:
    """What of the URL may be shown."""
    return urllib.parse.urlsplit(url).hostname or "the webhook"


def message(event: str, run: str, sentence: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The body: `event`, `run`, `text` and the facts; `content` is the text again, for Discord."""
    plain = one_line(sentence).replace("<", "‹").replace(">", "›")  # Slack: <!channel>
    text = f"{run}: {event}. {plain}"[:MOST_TEXT]
    return {
        "event": event, "run": run, "text": text, "content": text,
        "allowed_mentions": {"parse": []}, **facts,
    }  # fmt: skip


def ended(
    run: str, attempt: int, code: int, reason: str, say: Callable[[str], None], *, stopped: bool,
    environ: Mapping[str, str] = os.environ,
) -> None:  # fmt: skip
    """Tell the user's webhook how an attempt ended, where they let the machine do so.

    code: the worker's exit code. say: takes why that failed. stopped: it was asked to.
    """
    url = environ.get(FROM_MACHINE, "")
    if not url:
        return
    failed = code in (NON_FINITE, BAD_CONFIG)
    event = "done" if code == DONE else "failed" if failed else "interrupted"
    body = message("stopped" if stopped else event, run, reason, {"attempt": attempt})
    if why := send(url, body):
        say(f"the webhook at {host(url)} was not told: {why}")


def send(url: str, body: Mapping[str, Any], within: float = WITHIN) -> str:
    """Post it, once; why it was not taken, without the URL, or ""."""
    result = [_late(within)]
    thread = threading.Thread(target=lambda: result.__setitem__(0, _post(url, body, within)))
    # Whatever hangs in it, a name server or bytes that come one by one, nobody waits for it.
    thread.daemon = True
    thread.start()
    thread.join(within)
    return result[0]


def _late(within: float) -> str:
    return f"it did not answer within {within:.0f} s"


def _post(url: str, body: Mapping[str, Any], within: float) -> str:
    headers = {"Content-Type": "application/json", "User-Agent": "mimir"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=within):
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answers {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(getattr(error, "reason", error), TimeoutError):
            return _late(within)
        return f"it cannot be reached ({type(error).__name__})"
