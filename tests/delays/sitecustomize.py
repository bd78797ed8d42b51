"""Waits at random where the order of threads, processes and files is decided.

Python imports a module of this name at its start, so with this folder in PYTHONPATH the tests and
the processes that they begin run as if the machine stood still now and then (`make test-delayed`).
A test that passes only because something is fast fails then, and says which.
"""

import os
import random
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

_CHANCE = random.Random(int.from_bytes(os.urandom(4), "big"))
_SLEEP = time.sleep  # tests replace the other one


def _pause(longest: float, share: float) -> None:
    """Up to so many seconds, in this share of the calls."""
    if _CHANCE.random() < share:
        _SLEEP(longest * _CHANCE.random())


def _around(owner: Any, name: str, before: tuple[float, float], after: tuple[float, float]) -> None:
    """Let each call of owner.name wait before and after. before, after: as _pause takes them."""
    call: Callable[..., Any] = getattr(owner, name)

    def delayed(*args: Any, **kwargs: Any) -> Any:
        _pause(*before)
        made = call(*args, **kwargs)
        _pause(*after)
        return made

    setattr(owner, name, delayed)


_around(threading.Thread, "run", (0.4, 0.5), (0.0, 0.0))
_around(threading.Thread, "start", (0.0, 0.0), (0.1, 0.3))
_around(subprocess.Popen, "__init__", (0.0, 0.0), (0.3, 0.3))
for _name in ("replace", "rename", "link"):
    _around(os, _name, (0.2, 0.2), (0.1, 0.2))
