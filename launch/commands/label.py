"""label: gives a run labels, by which `runs` finds it."""

import json as json_text

from mimir.errors import BadInput


def label(name: str, *pairs: str, store: str = "", json: bool = False) -> None:
    """Set labels of a run, or show them; `runs --label KEY=VALUE` finds it by them.

    At most 32, of 40 and 100 characters. No machine can write them, and nothing is decided by them.

    Args:
        name: of the run.
        pairs: KEY=VALUE each; KEY= takes the label away. None: show them.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: an object with all labels of the run.

    Example:
        python -m launch label first project=binders stage=final
    """
    from mimir.runs import about
    from mimir.runs.record import read_run
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    labels = about.pairs(map(str, pairs), "label")
    opened = open_store(store or default_store())
    read_run(opened, name)
    missing = [key for key, value in labels.items() if not value]
    had = about.read(opened, name).labels if missing else {}
    for key in (key for key in missing if key not in had):
        known = f"it has {', '.join(sorted(had))}" if had else "it has none"
        raise BadInput(f"run {name} has no label {key} to take away: {known}")
    found = about.label(opened, name, labels) if labels else about.read(opened, name)
    if json:
        print(json_text.dumps(dict(sorted(found.labels.items())), indent=2))
    else:
        print(found.words or f"run {name} has no labels")
