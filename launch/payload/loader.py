"""Fetches what a machine is to start by a signed link, checks its digest, and becomes it.

This file's text travels in the machine's command (by_link.py), so it is short. Started again in
the same container it takes what it fetched before, for the link is dead by then. If there is
nothing to start, it asks for the machine's end itself: the code that does so with more care
(mimir/worker/self_terminate.py) is in what could not be fetched. The link is never shown.
"""

import hashlib
import json
import os
import re
import sys
import tempfile
import time
import urllib.request as web
from collections.abc import Callable, Mapping
from typing import Any

PAUSES = (0, 1, 2, 4, 8, 15, 30, 60)
"""Seconds before each try: a machine's network may come up after it."""


class Stay(web.HTTPRedirectHandler):
    """The machine's token goes to the named host alone."""

    def redirect_request(self, *_: Any) -> None:
        pass


def main(
    own: Mapping[str, str],
    become: Callable[..., object] = os.execvpe,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Become what is ordered; the machine's own variables count before those that come with it."""
    sha256, why = own["MIMIR_SHA256"], ""
    link = "".join(own.get(f"MIMIR_LINK_{n}", "") for n in range(40))
    path = f"{tempfile.gettempdir()}/mimir-{sha256}"
    for pause in PAUSES:
        sleep(pause)
        for place in (f"file://{path}", link):
            try:
                data = web.urlopen(place, timeout=60).read()
            except Exception as error:  # noqa: BLE001 - whatever a network comes up with
                why = getattr(error, "code", type(error).__name__)
                continue
            why = "another digest"
            if hashlib.sha256(data).hexdigest() == sha256:
                with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as kept:
                    kept.write(data)
                told = json.loads(data)
                become(told["command"][0], told["command"], {**told["env"], **own})
    print(f"mimir: cannot fetch what this machine is to start ({why})", flush=True)
    while "MIMIR_END" in own:
        try:
            told = json.loads(re.sub("{([A-Z_]+)}", lambda name: own[name[1]], own["MIMIR_END"]))
            body = told["body"] and json.dumps(told["body"]).encode()
            headers = {"Authorization": f"Bearer {own[told['token']]}", "User-Agent": "mimir",
                       "Content-Type": "application/json"}  # fmt: skip
            request = web.Request(told["url"], body, headers, method=told["method"])
            web.build_opener(Stay).open(request, timeout=60)
        except Exception as error:  # noqa: BLE001 - it is asked for again
            print(f"mimir: not ended ({type(error).__name__})", flush=True)
        sleep(300)
    sys.exit(75)


if __name__ == "__main__":
    main(os.environ)
