"""A headless Chromium, spoken to in its own protocol (Chrome DevTools) through two pipes."""

import base64
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.waiting import LIMIT

NAMES = ("chromium", "chromium-browser", "google-chrome")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page. `requests`: the addresses that it has asked for, but for the page itself."""

    def __init__(self, process: "subprocess.Popen[bytes]", to: int, back: int) -> None:
        self._process, self._to, self._back = process, to, back
        self._numbers, self._left = itertools.count(1), b""
        self._session: str | None = None
        self.requests: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.ask(f"{domain}.enable")

    def open(self, path: Path, width: int, *, dark: bool = False) -> None:
        """Show a file in a window so many CSS pixels wide."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1,
            mobile=width < 600,
        )  # fmt: skip
        self.requests.clear()
        self.ask("Page.navigate", url=path.as_uri())
        while self._message().get("method") != "Page.loadEventFired":
            pass
        self.requests.remove(path.as_uri())

    def run(self, script: str) -> Any:
        """The value of an expression in the page, as JSON has it."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self) -> bytes:
        """All of the page as a PNG."""
        return base64.b64decode(
            self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        )

    def pdf(self) -> bytes:
        """The page on A4 paper."""
        size = {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": True}
        return base64.b64decode(self.ask("Page.printToPDF", **size)["data"])

    def ask(self, method: str, **params: Any) -> Mapping[str, Any]:
        """The answer to a command of the protocol."""
        number = next(self._numbers)
        body = {"id": number, "method": method, "params": params}
        if self._session:
            body["sessionId"] = self._session
        os.write(self._to, json.dumps(body).encode() + b"\0")
        while (found := self._message()).get("id") != number:
            pass
        assert "error" not in found, found
        result: Mapping[str, Any] = found["result"]
        return result

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            chunk = os.read(self._back, 1 << 16)
            assert chunk, f"the browser has ended with {self._process.wait(timeout=LIMIT)}"
            self._left += chunk
        text, _, self._left = self._left.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        return message


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser that ends with the block. profile: a folder of its own."""
    assert PROGRAM is not None
    (read, to), (back, write) = os.pipe(), os.pipe()
    options = (
        "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
        f"--remote-debugging-pipe --user-data-dir={profile} about:blank"
    )
    # The protocol is spoken through descriptors 3 and 4.
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$0" {options} 3<&{read} 4>&{write}', PROGRAM],
        pass_fds=(read, write), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={**os.environ, "HOME": str(profile)},
    )  # fmt: skip
    for end in (read, write):
        os.close(end)
    try:
        yield Browser(process, to, back)
    finally:
        process.kill()
        process.wait()
        for end in (to, back):
            os.close(end)
