"""What a user should know before the first machine is rented: keys, rights, store, clock."""

import sys
import time
from collections.abc import Callable

from launch.contract.provider import AttemptSpec, Check
from launch.payload import credentials
from launch.providers import registry
from mimir.errors import MimirError
from mimir.runs.order import KeySource
from mimir.runs.probe import probe
from mimir.runs.store import Store, open_store

SKEW = 300.0
"""Seconds that clocks may differ: S3 refuses requests beyond fifteen minutes."""

PROBE_RUN = "doctor"
"""What is tried in the store is tried for a run of this name, under keys that no run has."""


def examine(
    store_url: str,
    clock: Callable[[], float] = time.time,
) -> list[Check]:
    """All checks; nothing is rented, and what is written to the store is deleted again."""
    checks = [_python()]
    checks += _store(store_url, clock)
    for name in registry.names():
        checks += _provider(name)
    return [*checks, _ssh()]


def healthy(checks: list[Check]) -> bool:
    """Whether none of them failed."""
    return all(check.status != "fail" for check in checks)


def _python() -> Check:
    return Check("python", "ok", f"{sys.version.split()[0]} on {sys.platform}")


def _store(url: str, clock: Callable[[], float]) -> list[Check]:
    try:
        store = open_store(url)
        probe(store, PROBE_RUN)
    except MimirError as error:
        return [Check("store", "fail", str(error))]
    checks = [Check("store", "ok", f"{url}: conditional writes are kept")]
    if not url.startswith("s3://"):
        checks.append(
            Check(
                "store reach", "warn", "rented machines cannot reach it: they need an s3:// store"
            )
        )
        return checks
    return [*checks, _clock(store, clock), _keys(store, clock)]


def _clock(store: Store, clock: Callable[[], float]) -> Check:
    from mimir.runs.s3_store import S3Store

    assert isinstance(store, S3Store)
    try:
        there = store.server_time()
    except MimirError as error:
        return Check("clock", "warn", str(error))
    skew = clock() - there
    if abs(skew) > SKEW:
        return Check(
            "clock", "fail", f"this computer's clock is {skew:+.0f} s off the store's: set it"
        )
    return Check("clock", "ok", f"{skew:+.0f} s off the store's")


def _keys(store: Store, clock: Callable[[], float]) -> Check:
    """Whether keys for one attempt can be made."""
    try:
        spec = AttemptSpec(store.url, PROBE_RUN, 1)
        made = credentials.for_machine(spec, KeySource(), foreign=True, clock=clock)
    except MimirError as error:
        return Check("machine keys", "warn", str(error))
    life = f" for {(made.expires - clock()) / 3600:.1f} h" if made and made.expires else ""
    return Check("machine keys", "ok", f"cut down to one attempt can be made{life}")


def _provider(name: str) -> list[Check]:
    try:
        return registry.get(name).checks()
    except MimirError as error:
        return [Check(name, "fail", str(error))]


def _ssh() -> Check:
    try:
        import paramiko
    except ImportError:
        return Check(
            "ssh", "warn", "paramiko is missing: logs of Lambda machines cannot be fetched; "
            "`pip install 'mimir-peptides[ssh]'`",
        )  # fmt: skip
    return Check("ssh", "ok", f"paramiko {paramiko.__version__}, with pinned host keys")
