"""runs: all runs of a store."""

import json as json_text
from typing import TYPE_CHECKING, Any

from mimir.text import one_line

if TYPE_CHECKING:
    from mimir.runs.status import Status


def runs(*, store: str = "", json: bool = False) -> None:
    """All runs of a store.

    Args:
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: a list with `run`, `status` (null if unreadable; without `attempts`,
            which `status NAME --json` tells), `problem` and `still_paid` (machines of finished
            attempts that nobody has seen to be gone).

    Example:
        python -m launch runs
    """
    from launch.ui.runs import runs_table
    from launch.ui.still_paid import still_paid
    from launch.ui.terminal import say
    from mimir.runs.listing import list_runs
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    opened = open_store(store or default_store())
    found = list_runs(opened, opened.now())
    paid = {each.run: still_paid(each.status, store) for each in found if each.status}
    if json:
        rows = [
            {
                "run": listed.run,
                "status": _without_attempts(listed.status) if listed.status else None,
                "problem": listed.problem,
                "still_paid": [each.as_json() for each in paid.get(listed.run, ())],
            }
            for listed in found
        ]
        print(json_text.dumps(rows, indent=2))
    elif found:
        print(runs_table(found))
        for each in (one for several in paid.values() for one in several):
            print(one_line(each.sentence))
    else:
        say(f"there are no runs in {opened.url} yet: begin with `python -m launch submit`")


def _without_attempts(status: "Status") -> dict[str, Any]:
    """Of most runs they are not read, so that of none they are told."""
    body = status.as_json()
    del body["attempts"]
    return body
