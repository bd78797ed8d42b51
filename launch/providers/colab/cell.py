"""What a Colab machine's notebook kernel runs: an attempt, for as long as one cell takes.

Colab keeps a machine while its kernel is busy, so the worker is a child of a running cell and
not a process on its own. This file's text is sent to the kernel, so it imports the standard
library alone. Beside it there is NAME.json: {"command", "env"}, which is deleted before
anything else is done, for it holds keys. These then exist in the worker's memory only.

    NAME.log     what the worker printed
    NAME.stop    if it appears, the worker gets SIGTERM
    NAME.exit    how it ended
"""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

BEGUN, ENDED = "::mimir-begun::", "::mimir-exit "
LAST = 40
"""Lines of a worker's output that are printed if it did not end well."""
LINGER = 30.0
"""Seconds for which the last lines may be on their way, before the machine is given back."""


def give_back() -> None:
    """End this machine, as `google.colab.runtime.unassign` in a notebook does."""
    importlib.import_module("google.colab.runtime").unassign()


def work(
    name: str,
    leave: Callable[[], None] = give_back,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Run the job beside us to its end, say how it ended, and give the machine back."""
    base = os.path.abspath(name)
    with open(base + ".json", encoding="utf-8") as file:
        job = json.load(file)
    os.unlink(base + ".json")
    print(BEGUN, flush=True)
    with open(base + ".log", "wb") as log:
        child = subprocess.Popen(
            job["command"],
            env={**os.environ, **job["env"]},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # An interrupt of the kernel goes to its group: the worker is asked by us alone.
            start_new_session=True,
        )
        asked = False
        while child.poll() is None:
            if not asked and os.path.exists(base + ".stop"):
                asked = True
                child.terminate()
            sleep(0.5)
    if child.returncode:
        with open(base + ".log", "rb") as log:
            text = log.read()[-20_000:].decode(errors="replace")
        print("\n".join(text.splitlines()[-LAST:]))
    with open(base + ".exit", "w", encoding="utf-8") as file:
        file.write(str(child.returncode))
    print(f"{ENDED}{child.returncode}::", flush=True)
    sys.stdout.flush()
    sleep(LINGER if child.returncode else 5.0)
    try:
        leave()
    except Exception as error:  # noqa: BLE001 - of a library that is not here; the watch ends it
        print(f"the machine was not given back from inside ({type(error).__name__})", flush=True)
