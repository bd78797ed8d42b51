"""What a user should know before the first machine is rented: keys, rights, store, clock."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping

from launch.contract.cloud import Check
from launch.contract.provider import AttemptSpec
from launch.payload import credentials
from launch.providers import registry
from mimir.errors import MimirError
from mimir.runs.probe import probe
from mimir.runs.store import Store, open_store

SKEW = 300.0
"""Seconds that clocks may differ: S3 refuses requests beyond fifteen minutes."""

NAME = "doctor"
"""What is tried in the store is tried for a run of this name, under keys that no run has."""


def examine(
    store_url: str,
    clock: Callable[[], float] = time.time,
    environ: Mapping[str, str] = os.environ,
) -> list[Check]:
    """All checks; nothing is rented, and what is written to the store is deleted again."""
    checks = [_python()]
    checks += _store(store_url, clock)
    for name in registry.CLOUDS:
        checks += _provider(name)
    checks += [*_colab(environ), _engine(), _ssh()]
    return checks


def healthy(checks: list[Check]) -> bool:
    """Whether none of them failed."""
    return all(check.status != "fail" for check in checks)


def _python() -> Check:
    return Check("python", "ok", f"{sys.version.split()[0]} on {sys.platform}")


def _store(url: str, clock: Callable[[], float]) -> list[Check]:
    try:
        store = open_store(url)
        probe(store, NAME)
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
        spec = AttemptSpec(store.url, NAME, 1)
        made = credentials.for_machine(spec, credentials.Wish(), foreign=True, clock=clock)
    except MimirError as error:
        return Check("machine keys", "warn", str(error))
    life = f" for {(made.expires - clock()) / 3600:.1f} h" if made and made.expires else ""
    return Check("machine keys", "ok", f"cut down to one attempt can be made{life}")


def _provider(name: str) -> list[Check]:
    try:
        cloud = registry.rented(name).cloud
        if not cloud.configured():
            return [Check(name, "warn", "no key here: its machines cannot be rented")]
        return [
            Check(check.name if check.name.startswith(name) else f"{name} {check.name}",
                  check.status, check.details)
            for check in cloud.checks()
        ]  # fmt: skip
    except MimirError as error:
        return [Check(name, "fail", str(error))]


def _colab(environ: Mapping[str, str]) -> list[Check]:
    if not environ.get("COLAB_CLI_PATH") and shutil.which("colab") is None:
        return [Check("colab", "warn", "Google's CLI is not here: docs/colab.md says how")]
    from launch.providers.colab.provider import ColabProvider

    return ColabProvider(environ=environ).checks()


def _engine() -> Check:
    found = shutil.which("docker") or shutil.which("podman")
    if found is None:
        return Check("engine", "warn", "no docker or podman: --provider docker cannot be used")
    return Check("engine", "ok", found)


def _ssh() -> Check:
    try:
        import paramiko
    except ImportError:
        return Check(
            "ssh", "warn", "paramiko is missing: logs of Lambda machines cannot be fetched; "
            "`pip install 'mimir-peptides[ssh]'`",
        )  # fmt: skip
    return Check("ssh", "ok", f"paramiko {paramiko.__version__}, with pinned host keys")
