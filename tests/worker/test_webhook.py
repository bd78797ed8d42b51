"""One message to a webhook: what it holds, what it waits for, and what is never shown."""

import http.server
import json
import threading
import time
from collections.abc import Iterator

import pytest

from mimir.errors import BadInput
from mimir.worker import webhook


class Hook:
    """A webhook. how: "take", "refuse", "move" (redirects), "hang" or "drip" (a byte at a time)."""

    def __init__(self) -> None:
        hook = self
        self.how = "take"
        self.bodies: list[dict[str, object]] = []
        self.free = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                hook.bodies.append(json.loads(self.rfile.read(size)))
                if hook.how == "hang":
                    hook.free.wait()
                    return
                if hook.how == "drip":
                    while not hook.free.wait(0.05):
                        self.wfile.write(b"H")
                        self.wfile.flush()
                    return
                self.send_response({"take": 204, "refuse": 500, "move": 302}[hook.how])
                if hook.how == "move":
                    self.send_header("Location", hook.url + "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/services/sec-ret"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.free.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


def test_a_message_is_taken(hook: Hook) -> None:
    body = webhook.message("done", "r", "run r is done", {"step": 3})
    assert webhook.send(hook.url, body) == ""
    assert hook.bodies == [body]
    assert body["text"] == body["content"] == "r: done. run r is done"
    assert body["step"] == 3


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("refuse", "it answers 500"),
        ("move", "it answers 302"),
        ("hang", "it did not answer within 0 s"),
        ("drip", "it did not answer within 0 s"),
    ],
)
def test_what_is_not_taken_is_told_and_not_waited_for(how: str, why: str, hook: Hook) -> None:
    hook.how = how
    began = time.monotonic()
    assert webhook.send(hook.url, {"text": "x"}, 0.4 if how in ("hang", "drip") else 60.0) == why
    assert time.monotonic() - began < 60, "which nobody would have ended"
    assert how != "move" or len(hook.bodies) == 1, "a redirect is not followed"


def test_nobody_is_there(hook: Hook) -> None:
    url = hook.url
    hook.close()
    why = webhook.send(url, {})
    assert why.startswith("it cannot be reached (")
    assert "sec-ret" not in why


@pytest.mark.parametrize(
    "url",
    ["hooks.example/sec-ret", "ftp://host/sec-ret", "https:///sec-ret", "https://h:99999/sec-ret",
     "https://host/sec ret", "https://[host/sec-ret", "https://höst/sec-ret"],
)  # fmt: skip
def test_a_wrong_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(BadInput, match="must be the URL of a webhook") as caught:
        webhook.checked(url)
    assert "ret" not in str(caught.value).replace("secret", "")


def test_a_text_of_a_machine_mentions_nobody_and_is_short() -> None:
    body = webhook.message("failed", "r", "<!channel> @everyone \x1b[2J" + "x" * 9999, {})
    assert "<" not in body["text"]
    assert "\x1b" not in body["text"]
    assert len(body["text"]) == webhook.MOST_TEXT
    assert body["allowed_mentions"] == {"parse": []}
