"""Terminates the machine that this runs on, after the worker has ended for any reason.

A container that has ended costs as much as before; RunPod and Vast start it again. They also
give each machine a key that can end that machine and nothing else. This file's text is sent
to the machine alone, before there is any code of ours, so it imports the standard library only;
Mimir is used if it can be, to write into the store that a machine cannot end itself.

    MIMIR_END            {"method", "url", "token", "body"} as JSON: the request that ends it.
                         {NAME} in url and body stands for a variable of the machine; token is
                         the name of the variable with the bearer token.
    MIMIR_END_PATIENCE   seconds for tries, 120 if it is not set
    MIMIR_WORK           what the variables of the worker's processes have, to find what is left
"""

import contextlib
import http.client
import json
import os
import re
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

SHARES = (1, 2, 4, 8, 15, 15, 15)
"""How the timeout is spread over the pauses between tries: a service that limits its callers
or fails for a moment is asked less and less often."""
TIMEOUT = 120.0
BETWEEN = 600.0
"""Seconds until the machine should be gone, and between later rounds of tries. It never stops
asking, for the machine costs money; and it does not exit, for it would be started again."""
GONE = (404, 410)
LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])[:/]")


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """None: the token goes to the named host alone."""


def main(
    code: int,
    environ: Mapping[str, str] = os.environ,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """End the machine; returns `code`, the worker's, only where no machine ends itself."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(code))  # process 1 has no default
    signal.signal(signal.SIGINT, lambda *_: sys.exit(code))
    kill_what_is_left(environ.get("MIMIR_WORK", ""))
    if not environ.get("MIMIR_END"):
        return code
    written = False
    while True:
        why = end(environ, sleep)
        if not why:
            _say("this machine has asked to be ended, and is told that it will be")
            sleep(BETWEEN)
            why = f"the service took the request to end it, and it still runs {BETWEEN:.0f} s later"
        if not written:
            _say(f"this machine may still cost money, for it cannot end itself: {why}")
            written = write_down(environ, why)
        sleep(BETWEEN)


def end(environ: Mapping[str, str], sleep: Callable[[float], None]) -> str:
    """Ask to end the machine, several times if need be; why it did not work, or ""."""
    try:
        request = _request(json.loads(environ["MIMIR_END"]), environ)
    except KeyError as error:
        return f"it has no variable {error.args[0]}"
    except (ValueError, TypeError, AttributeError) as error:
        return f"MIMIR_END is not a request ({type(error).__name__})"
    opener = urllib.request.build_opener(_Stay)
    timeout = float(environ.get("MIMIR_END_PATIENCE") or TIMEOUT)
    for share in (*SHARES, 0):
        try:
            with opener.open(request, timeout=30):
                return ""
        except urllib.error.HTTPError as error:
            if error.code in GONE:
                return ""
            why = f"the service answers {error.code} to the request to end it"
            error.close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = f"the service does not answer ({type(error).__name__})"
        if share:
            sleep(timeout * share / sum(SHARES))
    return why


def _request(told: Mapping[str, Any], environ: Mapping[str, str]) -> urllib.request.Request:
    url = _filled(told["url"], environ)
    if not url.startswith("https://") and not LOOPBACK.match(url):
        raise ValueError("a token goes over https only")
    headers = {"User-Agent": "mimir", "Accept": "application/json"}
    if told.get("token"):
        headers["Authorization"] = f"Bearer {environ[told['token']]}"
    body = None
    if told.get("body") is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(_filled(told["body"], environ)).encode()
    return urllib.request.Request(url, body, headers, method=str(told["method"]))


def _filled(value: Any, environ: Mapping[str, str]) -> Any:
    """The value with each {NAME} in its texts replaced; KeyError for a missing variable."""
    if isinstance(value, str):
        return re.sub(r"\{([A-Z][A-Z0-9_]*)\}", lambda found: environ[found[1]], value)
    if isinstance(value, dict):
        return {name: _filled(item, environ) for name, item in value.items()}
    return [_filled(item, environ) for item in value] if isinstance(value, list) else value


def kill_what_is_left(mark: str) -> None:
    """Kill the worker's processes that outlived it: what `timeout` kills is the worker alone.

    Where the machine cannot end itself, they would train on unwatched.
    """
    if not mark:
        return
    for number, variables in _processes():
        if number != os.getpid() and f"MIMIR_WORK={mark}".encode() in variables:
            with contextlib.suppress(OSError):
                os.kill(number, signal.SIGKILL)


def _processes() -> Iterator[tuple[int, list[bytes]]]:
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            yield int(path.parent.name), path.read_bytes().split(b"\0")
        except OSError:
            continue


def write_down(environ: Mapping[str, str], why: str) -> bool:
    """Write <run>/a0001/unended.json into the store, if Mimir and its keys are here."""
    folder = Path(tempfile.gettempdir()) / f"mimir-{environ.get('MIMIR_CODE_SHA256', '')[:16]}"
    # As launch/payload/bootstrap.py lays them out.
    sys.path.insert(0, str(folder / "code"))
    sys.path.append(str(folder / "packages"))
    if (folder / "keys.json").exists():
        os.environ["MIMIR_CREDENTIALS_FILE"] = str(folder / "keys.json")
    try:
        from mimir.runs import notes
        from mimir.runs.store import open_store

        store, run = open_store(environ["MIMIR_STORE"]), environ["MIMIR_RUN"]
        unended = notes.Unended(time.time(), why)
        notes.record_unended(store, run, int(environ["MIMIR_ATTEMPT"]), unended)
        return True
    except Exception as error:  # noqa: BLE001 - whatever it is, ending the machine goes on
        _say(f"that is not written into the store ({type(error).__name__})")
        return False


def _say(sentence: str) -> None:
    print(f"mimir: {sentence}", flush=True)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
