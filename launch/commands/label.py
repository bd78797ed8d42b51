"""label: gives runs labels, by which `runs` finds them."""

import json as json_text
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mimir.errors import BadInput, MimirError

if TYPE_CHECKING:
    from mimir.runs.about import About
    from mimir.runs.store import Store

AT_ONCE = 8
"""Runs of a sweep that are labelled at once, each in a few requests."""


def label(
    name: str = "", *pairs: str, sweep: str = "", store: str = "", json: bool = False
) -> None:  # fmt: skip
    """Set labels of a run, or of all runs of a sweep, or show them.

    `runs --label KEY=VALUE` finds runs by them. At most 32, of 40 and 100 characters. No machine
    can write them, and nothing is decided by them.

    Args:
        name: of the run.
        pairs: KEY=VALUE each; KEY= takes the label away. None: show them.
        sweep: the sweep whose runs get the labels, in place of a run.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: an object with all labels of the run; of a sweep, such an object for each
            run by its name.

    Example:
        python -m launch label first project=binders stage=final
        python -m launch label --sweep lr project=binders
    """
    from mimir.runs import about
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    if sweep and name and "=" not in name:
        raise BadInput(f"{name!r} is no KEY=VALUE, and beside --sweep {sweep} no run is named")
    if not sweep and not name:
        raise BadInput("name a run: `label NAME KEY=VALUE`, or `label --sweep NAME KEY=VALUE`")
    words = (name, *pairs) if sweep and name else pairs
    labels = about.pairs(map(str, words), "label")
    opened = open_store(store or default_store())
    if sweep:
        _of_sweep(opened, sweep, labels, json)
        return
    found = _of_run(opened, name, labels)
    if json:
        print(json_text.dumps(dict(sorted(found.labels.items())), indent=2))
    else:
        print(found.words or f"run {name} has no labels")


def _of_run(store: "Store", name: str, labels: Mapping[str, str]) -> "About":
    from mimir.runs import about
    from mimir.runs.record import read_run

    read_run(store, name)
    missing = [key for key, value in labels.items() if not value]
    had = about.read(store, name).labels if missing else {}
    for key in (key for key in missing if key not in had):
        known = f"it has {', '.join(sorted(had))}" if had else "it has none"
        raise BadInput(f"run {name} has no label {key} to take away: {known}")
    return about.label(store, name, labels) if labels else about.read(store, name)


def _of_sweep(store: "Store", name: str, labels: Mapping[str, str], json: bool) -> None:
    """A run that has no such label to take away stays as it is. BadInput, after all others are
    labelled, if one could not be."""
    from concurrent.futures import ThreadPoolExecutor

    from mimir.runs import about
    from mimir.runs import sweep as lists

    def one(run: str) -> "About | MimirError":
        try:
            return about.label(store, run, labels) if labels else about.read(store, run)
        except MimirError as error:
            return error

    runs = [member.run for member in lists.read(store, name).members]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        answers = dict(zip(runs, pool.map(one, runs), strict=True))
    found = {run: each for run, each in answers.items() if not isinstance(each, MimirError)}
    if json:
        body = {run: dict(sorted(each.labels.items())) for run, each in found.items()}
        print(json_text.dumps(body, indent=2))
    else:
        for run, each in found.items():
            print(f"{run}  {each.words or 'no labels'}")
    failed = [f"{run}: {each}" for run, each in answers.items() if isinstance(each, MimirError)]
    if failed:
        does = "labelled" if labels else "read"
        raise BadInput(f"{len(failed)} of {len(runs)} runs could not be {does}: {failed[0]}")
