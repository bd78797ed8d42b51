"""Mimir from a program: submit runs, follow them, and fetch what they leave.

    from launch import api

    run = api.submit("smoke", name="first", max_steps=200)
    run = api.wait("first")
    print(run.state, api.metrics("first")[-1]["loss"])
    folder = api.pull("first", out="first")

Each function does what the command of its name does, by the same code. What goes wrong is raised as
`mimir.errors.MimirError`, whose classes say what to do next. What a command says to a person goes
to standard error. Everywhere, store is the URL where runs live ("": $MIMIR_STORE or a folder in the
user's data directory). Nothing here imports torch; `mimir.api` draws and scores peptides.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mimir.errors import INTERRUPTED, BadInput, Interrupted

if TYPE_CHECKING:
    from pathlib import Path

    from launch.ui.offers import Line
    from launch.ui.run_list import Row
    from mimir.runs.status import Status
    from mimir.runs.store import Store

__all__ = [
    "estimate",
    "logs",
    "metrics",
    "pull",
    "report",
    "resume",
    "runs",
    "status",
    "stop",
    "submit",
    "wait",
]  # fmt: skip
POLL = 5.0
"""Seconds between two looks at a run that is waited for."""


def submit(
    preset: str = "", *, name: str = "", provider: str = "", store: str = "",
    yes: bool = False, **options: Any,
) -> "Status":  # fmt: skip
    """Train a preset on a machine, as `submit`; returns once it trains, or waits in a queue.

    Args:
        preset: smoke, small, medium, large, or a YAML file of your own ("": as the command).
        name: of the run ("": a fresh one).
        provider: where to train, several as A,B ("": local).
        store: where runs live.
        yes: order a machine that costs money without asking at the terminal. Give max_cost, too.
        options: any other option of the command but dry_run, and any setting: max_hours=6, lr=3e-4.
            A list means its words with commas between: gpu=["H100", "A100"]; None: not given.

    Raises:
        BadInput: something must be changed first.
        Interrupted: it did not begin; `resume` may begin it.
    """
    from launch.commands.submit import submit as command
    from mimir.submission import fresh_name

    if options.get("dry_run"):
        raise BadInput(
            "dry_run makes no run whose status could be returned: use `estimate`, or the command "
            "`python -m launch submit --dry-run --json`"
        )
    name = name or fresh_name(preset or "small")
    with _told():
        code = command(name, preset=preset, provider=provider, store=store, yes=yes, **options)
    return _begun(code, name, store)


def resume(name: str, *, store: str = "", yes: bool = False, **options: Any) -> "Status":
    """Go on with a run on a new machine, as `resume`; options and errors as `submit`."""
    from launch.commands.resume import resume as command

    with _told():
        code = command(name, store=store, yes=yes, **options)
    return _begun(code, name, store)


def status(name: str, *, store: str = "") -> "Status":
    """How a run stands: `state`, `step`, `loss`, `val`, `attempts` and more. BadInput if there is
    no such run."""
    from launch.commands.status import read

    return read(_open(store), name)


def runs(
    *, state: str = "", label: str = "", provider: str = "", since: str = "", limit: int = 0,
    sort: str = "created", cost: bool = False, store: str = "",
) -> "list[Row]":  # fmt: skip
    """The runs of a store, the newest first: each with `listed.run`, `listed.status` (None if it
    cannot be read: `listed.problem` says why), and with cost `provider` and `dollars`. Words as
    those of the command."""
    from launch.commands.runs import find

    return find(_open(store), state, label, provider, since, limit, sort, cost)[0]


def logs(name: str, *, attempt: int = 0, tail: int = 0, store: str = "") -> Iterator[str]:
    """What an attempt has printed, piece by piece (0: the newest attempt); with tail its last
    lines. A machine wrote it: `mimir.text.visible` makes it safe to show."""
    from launch.commands.logs import attempt_of, read

    opened = _open(store)
    found = status(name, store=store)
    for _, text in read(opened, found, attempt_of(found, attempt), tail):
        yield text


def metrics(name: str, *, store: str = "") -> list[dict[str, Any]]:
    """The run's metrics, a row per step as if no machine had ever died; docs/reference/files.md has
    the columns."""
    from mimir.runs.parts import read_metrics
    from mimir.runs.status import head_or_remembered

    opened = _open(store)
    return read_metrics(opened, name, head_or_remembered(opened, name)[0])


def wait(name: str, *, timeout: float | None = None, store: str = "") -> "Status":
    """Wait until a run is done, failed or stopped. Nobody looks after it meanwhile: of a rented
    machine that is lost, `python -m launch watch` orders the next.

    Args:
        name: of the run.
        timeout: seconds; None: no limit.
        store: where runs live.

    Raises:
        Interrupted: it has not ended by then.
    """
    from mimir.runs.head import ENDED

    end = None if timeout is None else time.monotonic() + timeout
    while (found := status(name, store=store)).state not in ENDED:
        left = POLL if end is None else end - time.monotonic()
        if left <= 0:
            raise Interrupted(f"run {name} is {found.state} after {timeout:.0f} s: wait longer")
        time.sleep(min(POLL, left))
    return found


def stop(name: str, *, store: str = "") -> "Status":
    """Ask a run to commit a checkpoint and stop, and see that it does, for up to a minute.

    Raises:
        Interrupted: it has not stopped yet; the request stands.
    """
    from launch.commands.stop import STOP_WAITS, await_end, request, take_off_queue

    opened = _open(store)
    attempt = request(opened, name)
    if take_off_queue(opened, name):
        return status(name, store=store)
    found = await_end(opened, name, attempt, lambda what: None)
    if found is None:
        raise Interrupted(
            f"run {name} has not stopped within {STOP_WAITS:.0f} s; the request stands"
        )
    return found


def pull(name: str, *, out: str = "", store: str = "") -> "Path":
    """Fetch a run's model, metrics, log and report into a folder ("": ./NAME), and return it; of an
    unfinished run the weights of its newest checkpoint.

    Raises:
        BadInput: the folder is not the run's.
        Corrupt: what the run left cannot be used; the other files are there.
    """
    from launch.commands.pull import fetch

    found, folder = fetch(_open(store), name, out)
    if found.unusable is not None:
        raise found.unusable
    return folder


def report(name: str, *, store: str = "") -> bytes:
    """The report of a run, also while it trains: one HTML page, UTF-8."""
    from launch.commands.report_steps import of_runs

    return of_runs(_open(store), [name]).content


def estimate(
    preset: str = "small", *, gpu: str = "", data: str = "", rows: int = 0, store: str = "",
    **settings: object,
) -> "list[Line]":  # fmt: skip
    """How long a preset would train on each kind of GPU, and what that would cost: `what` (hours)
    and `price` of each. Words as those of the command."""
    from launch.commands.estimate import estimated

    return estimated(preset, settings, gpu, data, rows, store)[1]


def _open(store: str) -> "Store":
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    return open_store(store or default_store())


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What the command prints goes to standard error: standard output is the program's."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _begun(code: int, name: str, store: str) -> "Status":
    if code == INTERRUPTED:
        raise Interrupted(f"run {name} did not begin; `resume` may begin it")
    if code:
        raise BadInput(f"run {name} did not begin (exit code {code}): standard error says why")
    return status(name, store=store)
