"""report: what a run is and has done, as one HTML page."""

import json as json_text
from typing import TYPE_CHECKING

from mimir.errors import BadInput, MimirError

if TYPE_CHECKING:
    from pathlib import Path

    from launch.report.facts import Facts
    from mimir.runs.store import Store


def report(
    name: str, *, out: str = "", open: bool = False, tensorboard: str = "", store: str = "",
    json: bool = False,
) -> None:  # fmt: skip
    """Make the report of a run, also while it trains, as one HTML page that needs nothing else.

    Verdict, curves, held-out figures beside their baselines, attempts, hours and cost, samples,
    settings, digests. It is made here, from the store; docs/report.md.

    Args:
        name: of the run.
        out: a file to write (default: NAME.html).
        open: show it in the browser of this computer.
        tensorboard: a folder in which TensorBoard's event file of the run is written, too, below
            its name, so that several runs may share it (`tensorboard --logdir FOLDER`).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: `run`, `out`, `state`, `step`, `verdict`, and with --tensorboard `events`.

    Example:
        python -m launch report first --open
        python -m launch report first --tensorboard curves
    """
    import webbrowser

    from launch.report.page import page
    from launch.report.verdict import verdict
    from launch.ui.terminal import say
    from mimir.atomic_file import OutFile, path_of
    from mimir.runs.store import open_store
    from mimir.submission import default_store, store_folder

    opened = open_store(store or default_store())
    root = store_folder(opened.url)
    target = OutFile(out or f"{name}.html", [("--store", root)] if root else [])
    if target.to_stdout and (open or json):
        raise BadInput("--out - prints the page itself: leave out --open and --json")
    facts = facts_of(opened, name)
    target.write(page(facts))
    events = _events(facts, path_of(tensorboard, "--tensorboard")) if tensorboard else None
    if json:
        body = {
            "run": name, "out": str(target.path), "state": facts.status.state,
            "step": facts.status.step, "verdict": verdict(facts),
        }  # fmt: skip
        print(json_text.dumps({**body, **({"events": str(events)} if events else {})}, indent=2))
    elif not target.to_stdout:
        say(*verdict(facts))
        print(target.path)
    if events:
        say(f"TensorBoard's event file: {events}")
    if open and not webbrowser.open(target.path.resolve().as_uri()):
        raise BadInput(f"no browser can be opened here: open {target.path.resolve()} yourself")


def _events(facts: "Facts", folder: "Path") -> "Path":
    """Write the event file of the run below the folder; its path."""
    from mimir.output import events
    from mimir.runs.head import ENDED

    record = facts.record
    rows = facts.rows if facts.status.state in ENDED else facts.rows[:-1]
    try:
        attempt = max(1, facts.status.attempt)
        return events.update(folder / record.name, rows, record.created, record.name, attempt)
    except OSError as error:
        raise BadInput(f"--tensorboard {folder} cannot be written: {error.strerror}") from error


def facts_of(store: "Store", name: str) -> "Facts":
    """What the page is made of. BadInput if there is no such run."""
    from launch.download import samples_of
    from launch.report.facts import gather
    from launch.ui.terminal import Transfers, say
    from mimir.runs import final
    from mimir.runs.parts import read_metrics
    from mimir.runs.record import read_run
    from mimir.runs.status import head_or_remembered

    record = read_run(store, name)
    head = final.read(store, name) or head_or_remembered(store, name)[0]
    left = None
    try:
        with Transfers() as transfers:
            left = samples_of(store, record, head, transfers.begin)
    except MimirError as error:  # the page says the rest
        say(f"the report has no samples: {error}")
    return gather(store, record, head, read_metrics(store, name, head), left)
