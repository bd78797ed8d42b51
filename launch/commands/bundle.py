"""bundle: an archive for a report of a bug, without secrets."""

import json as json_text
from typing import TYPE_CHECKING

from mimir import cli
from mimir.errors import BadInput, MimirError

if TYPE_CHECKING:
    from launch.contract.provider import Check
    from mimir.runs.store import Store

MOST = 100_000
"""Lines of a log."""


def bundle(
    name: str, *, out: str = "", lines: int = 200, checks: bool = True, store: str = "",
    json: bool = False,
) -> None:  # fmt: skip
    """Gather what a report of a bug needs in one ZIP file, without secrets, weights and data.

    Versions, settings, the run's record and HEAD, its attempts with their orders, machines and
    ends, the last metrics and lines of the log, what `doctor` says, and a list of all that. Keys,
    tokens, values of environment variables, and the names of user, home and computer are taken
    out. Nothing is sent: read it, and attach it yourself.

    Args:
        name: of the run.
        out: a file to write (default: NAME-bundle.zip).
        lines: of the log of each of the three newest attempts.
        checks: --no-checks: do not ask the store and the run's providers what is wrong.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: `run`, `out`, and `files`, each with `name`, `bytes` and `about`.

    Example:
        python -m launch bundle first
    """
    import os

    from launch.report import bundle as bundles
    from launch.report import private
    from launch.ui.terminal import say
    from mimir.atomic_file import OutFile
    from mimir.runs.layout import check_run
    from mimir.runs.store import open_store
    from mimir.submission import default_store, store_folder

    cli.check_count("lines", lines, 0, MOST)
    check_run(name)
    url = store or default_store()
    opened = open_store(url)
    root = store_folder(opened.url)
    target = OutFile(out or f"{name}-bundle.zip", [("--store", root)] if root else [])
    if target.to_stdout and json:
        raise BadInput("--out - prints the archive itself: leave out --json")
    if next(iter(opened.list(f"{name}/")), None) is None:
        raise BadInput(f"there is no run {name} in {opened.url}")
    found = bundles.entries(
        opened, name, private=private.of_this_computer(), lines=lines,
        checks=_checks(opened, url, name) if checks else [], environ=os.environ,
    )  # fmt: skip
    target.write(bundles.archive(found))
    if json:
        files = [{"name": e.name, "bytes": len(e.content), "about": e.about} for e in found]
        print(json_text.dumps({"run": name, "out": str(target.path), "files": files}, indent=2))
        return
    say(*found[0].content.decode().rstrip().splitlines())
    if not target.to_stdout:
        print(target.path)


def _checks(store: "Store", url: str, name: str) -> "list[Check]":
    """What `doctor` says of the store, and of the providers from which the run had machines."""
    from launch import doctor
    from launch.providers import registry
    from mimir.runs.status import derive

    try:
        attempts = derive(store, name, store.now()).attempts
    except MimirError:  # status.json says what is wrong
        attempts = ()
    asked = {each.order.provider for each in attempts if each.order is not None}
    return doctor.examine(url, names=[each for each in registry.names() if each in asked])
