"""Tries in a new process what needs torch, which commands do not import."""

import functools
import os
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType

from mimir.errors import BrokenPackage, must_have

TIMEOUT = 120.0
"""Seconds in which a process must have imported what it tries, or have failed."""
_NOTHING: Mapping[str, str] = MappingProxyType({})


def tried(
    *words: str, given: bytes = b"", extra: Mapping[str, str] = _NOTHING
) -> "subprocess.CompletedProcess[bytes] | None":
    """A Python with these arguments that has ended; None if it did not begin, or not end in time.

    given: on its standard input. extra: environment, beside that of this process.
    """
    try:
        return subprocess.run(
            [sys.executable, *words], input=given, capture_output=True, check=False,
            timeout=TIMEOUT, env={**os.environ, **extra},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None


def must_import(name: str) -> None:
    """MissingPackage or BrokenPackage unless a new process can import this.

    One that cannot be started, or takes longer than TIMEOUT, refuses nothing.
    """
    must_have((name,))
    _try_import(name)


@functools.cache
def _try_import(name: str) -> None:
    """Once a command: it takes what the import takes, 2 s of torch."""
    child = tried("-c", f"import {name}")
    if child is not None and child.returncode:
        lines = child.stderr.decode(errors="replace").strip().splitlines()
        raise BrokenPackage(name, lines[-1] if lines else f"exit code {child.returncode}")
