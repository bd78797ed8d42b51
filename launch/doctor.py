"""What a user should know before the first machine is rented: keys, rights, store, clock."""

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from launch.contract.provider import AttemptSpec, Check
from launch.payload import credentials
from launch.providers import registry
from launch.supervise import timer
from mimir.errors import OPTIONAL, MimirError
from mimir.runs import probe
from mimir.runs.order import KeySource
from mimir.runs.store import Store, open_store

SKEW = 300.0
"""Seconds that clocks may differ: S3 refuses requests beyond fifteen minutes."""

PROBE_RUN = "doctor"
"""What is tried in the store is tried for a run of this name, under keys that no run has."""


def examine(
    store_url: str,
    clock: Callable[[], float] = time.time,
    names: Sequence[str] | None = None,
) -> list[Check]:
    """All checks; nothing is rented, and what is written to the store is deleted again.

    names: of the providers to check (None: all).
    """
    checks = [_python()]
    checks += _store(store_url, clock)
    checks += services(registry.names() if names is None else names)
    return [*checks, *_each("ssh", lambda: [_ssh()])]


def leftovers() -> list[Check]:
    """What we left in the accounts that have a key here, beside machines. Nothing is changed."""
    found: list[Check] = []
    for name in registry.renting():
        found += _each(name, partial(_leftovers, name))
    return found


def healthy(checks: list[Check]) -> bool:
    """Whether none of them failed."""
    return all(check.status != "fail" for check in checks)


def _python() -> Check:
    return Check("python", "ok", f"{sys.version.split()[0]} on {sys.platform}")


def _each(name: str, look: Callable[[], list[Check]], otherwise: str = "fail") -> list[Check]:
    """What a look finds. Whatever goes wrong in it is told under its name, and hides no other."""
    try:
        return look()
    except MimirError as error:
        return [Check(name, otherwise, str(error))]
    except Exception as error:  # noqa: BLE001 - the command that is asked when something is amiss
        # Its words are left out: nobody knows what a strange error repeats.
        where = traceback.extract_tb(error.__traceback__)[-1]
        return [
            Check(
                name, "fail",
                f"this check failed itself ({type(error).__name__} in {Path(where.filename).name}, "
                f"line {where.lineno}): please report that",
            )
        ]  # fmt: skip


def _store(url: str, clock: Callable[[], float]) -> list[Check]:
    opened: list[Store] = []

    def opens() -> list[Check]:
        store = open_store(url)
        probe.conditions(store, PROBE_RUN)
        opened.append(store)
        return [Check("store", "ok", f"{store.url}: conditional writes are kept")]

    checks = _each("store", opens)
    if not opened:
        return checks
    store = opened[0]
    checks += _each("store race", lambda: [Check("store race", "ok", probe.race(store, PROBE_RUN))])
    if not url.startswith("s3://"):
        checks.append(
            Check(
                "store reach", "warn", "rented machines cannot reach it: they need an s3:// store"
            )
        )
        return checks
    checks += _each("watch timer", lambda: [timer.check(store.url)], "warn")
    checks += _each("clock", lambda: [_clock(store, clock)], "warn")
    return checks + _each("machine keys", lambda: [_keys(store, clock)], "warn")


def _clock(store: Store, clock: Callable[[], float]) -> Check:
    skew = clock() - store.now()
    if abs(skew) > SKEW:
        return Check(
            "clock", "fail", f"this computer's clock is {skew:+.0f} s off the store's: set it"
        )
    return Check("clock", "ok", f"{skew:+.0f} s off the store's")


def _keys(store: Store, clock: Callable[[], float]) -> Check:
    """Whether keys for one attempt can be made."""
    spec = AttemptSpec(store.url, PROBE_RUN, 1)
    made = credentials.for_machine(spec, KeySource(), foreign=True, clock=clock)
    life = f" for {(made.expires - clock()) / 3600:.1f} h" if made and made.expires else ""
    return Check("machine keys", "ok", f"cut down to one attempt can be made{life}")


def services(names: Sequence[str]) -> list[Check]:
    """Keys, rights, balance and quota of these providers, as far as reading tells."""
    return [check for name in names for check in _each(name, partial(_provider, name))]


def _provider(name: str) -> list[Check]:
    return registry.get(name).checks()


def _leftovers(name: str) -> list[Check]:
    cloud = registry.rented(name).cloud
    if not cloud.configured():
        return []
    left = cloud.leftovers()
    if not left:
        return [Check(name, "ok", "nothing of ours is left there beside machines")]
    return [Check(name, "warn", f"{each.kind} {each.name}: {each.remove}") for each in left]


def _ssh() -> Check:
    try:
        import paramiko
    except ImportError:
        return Check(
            "ssh", "warn", "paramiko is missing: logs of Lambda machines cannot be fetched; "
            f"`python -m pip install '{OPTIONAL['paramiko']}'`",
        )  # fmt: skip
    return Check("ssh", "ok", f"paramiko {paramiko.__version__}, with pinned host keys")
