"""New keys for an attempt on this computer's engine, before the old ones end.

A rented machine's keys cannot be replaced from outside: its attempt ends before they do, and
the next one has its own.
"""

import json
import platform
import time
from calendar import timegm
from collections.abc import Callable
from pathlib import Path

from launch.contract import deadlines, state
from launch.contract.provider import Machine
from launch.payload import credentials as keys
from mimir.runs.order import KeySource

BEFORE = 3600.0
"""Seconds before their end at which keys are replaced; half their life, if that is less."""

SLACK = 60.0
"""Seconds by which STS may have begun to count sooner."""


def refresh(
    path: Path,
    store_url: str,
    run: str,
    attempt: int,
    lifetime_s: float,
    how: keys.How,
    sweep: str = "",
) -> keys.Credentials:
    """Make new keys for the same attempt and put them into the worker's credentials file."""
    credentials = keys.mint(store_url, run, attempt, lifetime_s, how, sweep=sweep)
    credentials.to_file(path)
    return credentials


def if_due(
    machine: Machine,
    store_url: str,
    run: str,
    attempt: int,
    source: KeySource,
    clock: Callable[[], float],
    here: Callable[[], float] = time.time,
    sweep: str = "",
) -> bool:
    """Replace the keys of an attempt's machine if they end soon; whether it was done.

    clock: the store's, which is that of its keys; here: this computer's, for its file's age.
    sweep: to which the run belongs, "" for none.
    Nothing is done for a machine elsewhere, for keys that do not end or outlive the attempt's
    deadline by what `keys.mint` gives, and for one's own keys. Raises as `keys.mint`.
    """
    if source.static or machine.host != platform.node():
        return False
    path = state.of_attempt("keys", store_url, run, attempt) / "keys.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        ends = timegm(time.strptime(value["Expiration"], "%Y-%m-%dT%H:%M:%SZ"))
        made = clock() - (here() - path.stat().st_mtime)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    deadline = machine.deadline
    if deadline and ends >= deadline + deadlines.KEYS_OUTLIVE - SLACK:
        return False
    # A role's sessions may last an hour in all: those would be asked for at every look.
    if ends - clock() > min(BEFORE, (ends - made) / 2):
        return False
    life = deadline - clock() if deadline else keys.NO_DEADLINE
    refresh(path, store_url, run, attempt, life, keys.of_role(source.role), sweep)
    return True
