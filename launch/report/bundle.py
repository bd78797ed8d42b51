"""An archive for a report of a bug: what a run is and did, without secrets, weights and data.

Each file is made by itself, so that what is broken, which is why somebody asks, hides no other:
its place tells what went wrong. All text goes through `private.Private` before it is in a file.
"""

import io
import json
import platform
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from typing import Any

from launch.contract.provider import Check
from launch.report.private import Private
from mimir import __version__
from mimir.errors import sentence
from mimir.runs import parts
from mimir.runs.record import read_run
from mimir.runs.status import Status, derive, read_head
from mimir.runs.store import Store
from mimir.text import moment, visible

PACKAGES = (
    "mimir-peptides", "torch", "numpy", "safetensors", "boto3", "httpx", "fire", "triton",
    "paramiko", "gpuhunt", "google-auth", "tensorboard", "matplotlib", "jinja2",
)  # fmt: skip
ROWS = 100
"""Rows of metrics, the newest."""
ATTEMPTS = 3
"""Attempts whose logs are in it, the newest."""
LONGEST = 2000
"""Characters of a line of a log."""
NOT_IN_IT = (
    "Not in it: weights, checkpoints, peptides, data, code, keys, values of environment\n"
    "variables, and the names of user, home and computer. Read it before you send it: what a\n"
    "program printed may hold what only you know to be private.\n"
)


@dataclass(frozen=True)
class Entry:
    """A file of the archive. about: what it holds."""

    name: str
    about: str
    content: bytes


def entries(
    store: Store,
    run: str,
    *,
    private: Private,
    lines: int,
    checks: Sequence[Check],
    environ: Mapping[str, str],
) -> list[Entry]:
    """The files, the listing first.

    Args:
        run: its name, which need not be that of a readable run.
        private: what is taken out.
        lines: of the log of each of the newest attempts.
        checks: what `doctor` found.
        environ: of which the names are told.
    """
    made = [
        _json("versions.json", "versions of Mimir, Python, packages and system", private,
              lambda: _versions(store)),
        _json("record.json", "what was submitted: settings, digests of data and code", private,
              lambda: asdict(read_run(store, run))),
        _json("head.json", "what the run's HEAD names: attempts, checkpoints, state", private,
              lambda: asdict(read_head(store, run))),
        _json("status.json", "what follows from the store: orders, machines, outcomes, signs",
              private, lambda: derive(store, run, store.now()).as_json()),
        _text("events.txt", "orders, machines and ends in the order of their time", private,
              lambda: _events(derive(store, run, store.now()))),
        _text("metrics.jsonl", f"the last {ROWS} rows of metrics, numbers only", private,
              lambda: _metrics(store, run)),
        *_logs(store, run, lines, private),
        _json("doctor.json", "what `doctor` says of the store and the run's providers", private,
              lambda: [asdict(check) for check in checks]),
        _text("environment.txt", "names of variables that are set here, without their values",
              private, lambda: "".join(f"{name}\n" for name in sorted(environ))),
    ]  # fmt: skip
    listing = "".join(f"{e.name:<18} {len(e.content):>8} bytes  {e.about}\n" for e in made)
    head = f"What `mimir bundle` gathered of run {run}, for a report of a bug.\n\n"
    about = private.clean(head + listing + "\n" + NOT_IN_IT)
    return [Entry("README.txt", "this list", about.encode()), *made]


def archive(files: Sequence[Entry]) -> bytes:
    """A ZIP file of them; the same files give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for each in files:
            made.writestr(zipfile.ZipInfo(f"bundle/{each.name}"), each.content,
                          zipfile.ZIP_DEFLATED)  # fmt: skip
    return out.getvalue()


def _json(name: str, about: str, private: Private, make: Callable[[], object]) -> Entry:
    try:
        # Once through JSON, so that what is in there is texts, numbers, lists and objects.
        plain = json.loads(json.dumps(make(), default=str))
    except Exception as error:  # noqa: BLE001 - a bundle is asked for when something is broken
        plain = {"could not be read": sentence(error)}
    text = json.dumps(private.clean_json(plain), indent=2, ensure_ascii=False)
    return Entry(name, about, (visible(private.clean(text)) + "\n").encode())


def _text(name: str, about: str, private: Private, make: Callable[[], str]) -> Entry:
    try:
        text = make()
    except Exception as error:  # noqa: BLE001 - as above
        text = f"could not be read: {sentence(error)}\n"
    # Whole, not line by line: a private key has many. Cut afterwards, or a half would be left.
    cut = [line[:LONGEST] for line in private.clean(text).split("\n")]
    return Entry(name, about, visible("\n".join(cut)).encode())


def _versions(store: Store) -> dict[str, Any]:
    packages: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    return {
        "mimir": __version__, "python": sys.version, "system": platform.platform(),
        "machine": platform.machine(), "store": store.url.partition(":")[0], "packages": packages,
    }  # fmt: skip


def _events(status: Status) -> str:
    found: list[tuple[float, str]] = [(status.created, "the run was created")]
    for each in status.attempts:
        who = f"attempt {each.attempt}"
        if each.order is not None:
            found.append((each.order.time, f"{who}: ordered from {each.order.provider}"))
        if each.machine is not None:
            what = f"{each.machine.provider} {each.machine.gpu} {each.machine.id}".strip()
            found.append((each.machine.started, f"{who}: its machine is {what}"))
        if each.started is not None:
            found.append((each.started.time, f"{who}: its job began, {each.started.by}"))
        if each.worked is not None:
            found.append((each.worked.written, f"{who}: last sign, step {each.worked.step}"))
        if each.ended_at is not None:
            end = f"{each.end} [{each.exit_code}]"
            found.append((each.ended_at, f"{who}: ended, {end}"))
        if each.gone is not None and each.gone.time:
            found.append((each.gone.time, f"{who}: its machine is gone, {each.gone.why}"))
        if each.damage:
            found.append((status.at, f"{who}: damaged, {each.damage}"))
    found.append((status.at, f"this was read; the run is {status.state} at step {status.step}"))
    return "".join(f"{moment(at)}  {what}\n" for at, what in sorted(found))


def _metrics(store: Store, run: str) -> str:
    rows = parts.read_metrics(store, run, read_head(store, run))[-ROWS:]
    numbers = [
        {name: value for name, value in row.items() if not isinstance(value, list | str)}
        for row in rows
    ]
    return "".join(json.dumps(row) + "\n" for row in numbers)


def _tail(store: Store, run: str, attempt: int, lines: int) -> str:
    return parts.tail(store, run, attempt, lines)[1] if lines else ""


def _logs(store: Store, run: str, lines: int, private: Private) -> list[Entry]:
    try:
        newest = derive(store, run, store.now()).attempt
    except Exception:  # noqa: BLE001 - status.json says what is wrong
        newest = 1
    return [
        _text(f"log-a{number:04d}.txt", f"the last {lines} lines that attempt {number} printed",
              private, partial(_tail, store, run, number, lines))
        for number in range(max(1, newest - ATTEMPTS + 1), newest + 1)
    ]  # fmt: skip
