"""report: what runs are and have done, as one HTML page."""

import json as json_text

from launch.commands import options
from mimir.errors import BadInput


def report(
    name: str = "", *others: str, sweep: str = "", out: str = "", open: bool = False,
    tensorboard: str = "", store: str = "", json: bool = False,
) -> None:  # fmt: skip
    """Make the report of a run, of several or of a sweep, as one HTML page that needs nothing else.

    Of a run, also while it trains: verdict, curves, held-out figures beside their baselines,
    attempts, hours and cost, samples, settings, digests. Of several: curves over each other,
    settings that differ, figures with intervals. Of a sweep: also mean and spread over seeds. It
    is made here, from the store; docs/report.md.

    Args:
        name: of the run.
        others: names of further runs, seven at most, to stand beside it.
        sweep: the sweep to report on, in place of runs.
        out: a file to write (default: NAME.html, FIRST-and-others.html of several).
        open: show it in the browser of this computer.
        tensorboard: a folder in which TensorBoard's event file of each run is written, too, below
            its name, so that several runs may share it (`tensorboard --logdir FOLDER`).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: `run`, `state` and `step` of one run, `runs` of several, `sweep` and
            `runs` of a sweep; `out`, `verdict`, and with --tensorboard `events`.

    Example:
        python -m launch report first --open
        python -m launch report first second third --out comparison.html
        python -m launch report --sweep lr --open
        python -m launch report first --tensorboard curves
    """
    import webbrowser

    from launch.commands import report_steps
    from launch.ui.terminal import say
    from mimir.atomic_file import OutFile, path_of
    from mimir.runs.store import open_store
    from mimir.submission import default_store, store_folder

    names = [str(each) for each in (name, *others) if each]
    names = options.distinct(names, "name each run to report on")
    if sweep and names:
        raise BadInput(f"{names[0]} is a run, and --sweep {sweep} a sweep: name one or the other")
    if not sweep and not names:
        raise BadInput(
            "name a run: `report NAME`, `report FIRST SECOND …` or `report --sweep NAME`"
        )
    opened = open_store(store or default_store())
    root = store_folder(opened.url)
    stem = sweep or (names[0] if len(names) == 1 else f"{names[0]}-and-others")
    target = OutFile(out or f"{stem}.html", [("--store", root)] if root else [])
    if target.to_stdout and (open or json):
        raise BadInput("--out - prints the page itself: leave out --open and --json")
    made = report_steps.of_sweep(opened, sweep) if sweep else report_steps.of_runs(opened, names)
    target.write(made.content)
    events = []
    if tensorboard:
        folder = path_of(tensorboard, "--tensorboard")
        events = report_steps.event_files(opened, made.told.get("runs") or names, folder)
    if json:
        body = {**made.told, "out": str(target.path), "verdict": made.verdict}
        body |= {"events": [str(path) for path in events]} if tensorboard else {}
        print(json_text.dumps(body, indent=2))
    elif not target.to_stdout:
        say(*made.verdict)
        print(target.path)
    for path in events:
        say(f"TensorBoard's event file: {path}")
    if open and not webbrowser.open(target.path.resolve().as_uri()):
        say(f"no browser can be opened here: open {target.path.resolve()} yourself")
